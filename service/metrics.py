"""Counters for `/metrics`, in the Prometheus text format. Labels are few and bounded; ids never become labels.

Several workers of one machine count together: a scrape meets any of them. Each keeps its figures in files of a folder,
and whoever is asked adds them up. The files are named by the workers' numbers, so one that takes a dead one's place
counts on from where that one was, and no sum ever falls.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, values
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.lifecycle.run import Change


class CountedTogether(Struct, frozen=True, kw_only=True):
    """Where workers count together, and which of them this one is."""

    folder: Path
    number: int


class Metrics:
    """Halley's counters, in a registry of their own.

    Args:
        together: Where other workers count too; None when this process is alone.
    """

    def __init__(self, together: CountedTogether | None = None) -> None:
        self.registry = CollectorRegistry()
        self._counted = self.registry if together is None else _counted_together(together)
        events = Counter("halley_run_events_total", "Run events", ["node", "type", "mode"], registry=self.registry)
        looks = Counter("halley_polls_total", "Polls made", ["lane"], registry=self.registry)
        callbacks = Counter("halley_callbacks_total", "Inbound callbacks", ["outcome"], registry=self.registry)
        attempts = Counter("halley_delivery_attempts_total", "Delivery attempts", ["outcome"], registry=self.registry)
        requests = Histogram(
            "halley_http_request_seconds",
            "Requests answered",
            ["method", "route", "status"],
            registry=self.registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
        )
        # The library looks a figure up by its labels under a lock, which takes longer than to count.
        self._events = functools.cache(events.labels)
        self._looks = functools.cache(looks.labels)
        self.callbacks = functools.cache(callbacks.labels)
        self.attempts = functools.cache(attempts.labels)
        self.requests = functools.cache(requests.labels)

    def notify(self, change: Change) -> None:
        """Count a committed change."""
        for event in change.events:
            self._events(change.run.node, event, change.run.mode).inc()
        for entry in change.entries:
            if entry.kind == "poll":
                self._looks(change.run.lane).inc()

    def render(self, open_runs: dict[str, int]) -> bytes:
        """Return the text that Prometheus reads."""
        return generate_latest(self._counted) + generate_latest(_OpenRuns(open_runs))


class _OpenRuns(Collector):
    """How many runs are open: looked up for each scrape and counted by nobody.

    Args:
        counts: By state.
    """

    def __init__(self, counts: Mapping[str, int]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge."""
        family = GaugeMetricFamily("halley_open_runs", "Runs that have not ended", labels=["state"])
        for state in ("queued", "submitting", "running", "submit_unknown"):
            family.add_metric([state], self._counts.get(state, 0))
        yield family


def _counted_together(together: CountedTogether) -> CollectorRegistry:
    """Have all figures of this process that are made from now on kept in files, and return the sum of all processes."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(together.folder)
    values.ValueClass = values.MultiProcessValue(lambda: together.number)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(together.folder))  # type: ignore[no-untyped-call]
    return registry
