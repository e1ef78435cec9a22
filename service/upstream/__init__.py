"""Talking to upstream: one request at a time, and what its outcome means for a run."""
