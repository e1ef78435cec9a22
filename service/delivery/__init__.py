"""Deliveries: what is sent to receivers, how it is signed, when it is tried again, and what came back."""
