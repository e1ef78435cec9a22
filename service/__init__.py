"""Halley: AI generations as workflow steps."""
