"""Measurements. They print figures beside the floors of the same machine and never fail a test."""
