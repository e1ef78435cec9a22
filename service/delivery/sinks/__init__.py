"""Sinks: message brokers that the operator names, told the same events by the same outbox as webhooks."""
