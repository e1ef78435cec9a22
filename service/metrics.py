"""Counters for `/metrics`, in the Prometheus text format. Labels are few and bounded; ids never become labels."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.lifecycle.run import Change


class Metrics:
    """Halley's counters, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._transitions = Counter(
            "halley_run_events_total", "Run events", ["node", "type", "mode"], registry=self.registry
        )
        self._looks = Counter("halley_polls_total", "Polls made", ["lane"], registry=self.registry)
        self.callbacks = Counter("halley_callbacks_total", "Inbound callbacks", ["outcome"], registry=self.registry)
        self.deliveries = Counter(
            "halley_delivery_attempts_total", "Delivery attempts", ["outcome"], registry=self.registry
        )
        self.requests = Histogram(
            "halley_http_request_seconds",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
        )
        self._open = Gauge("halley_open_runs", "Runs that have not ended", ["state"], registry=self.registry)

    def notify(self, change: Change) -> None:
        """Count a committed change."""
        for event in change.events:
            self._transitions.labels(change.run.node, event, change.run.mode).inc()
        for entry in change.entries:
            if entry.kind == "poll":
                self._looks.labels(change.run.lane).inc()

    def render(self, open_runs: dict[str, int]) -> bytes:
        """Return the text that Prometheus reads."""
        for state in ("queued", "submitting", "running", "submit_unknown"):
            self._open.labels(state).set(open_runs.get(state, 0))
        return generate_latest(self.registry)
