"""Counters of several workers: whoever is asked gives the sum, and no death makes it smaller."""

import os
from pathlib import Path

import pytest
from prometheus_client import values
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import CountedTogether, Metrics


@pytest.fixture(autouse=True)
def as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is set for a whole process from the other tests."""
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")


def figures(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what a scrape gives."""
    families = text_string_to_metric_families(metrics.render({"running": 3}).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_each_worker_gives_the_sum_of_all(tmp_path: Path) -> None:
    """All figures are those of one process that did it all; who takes a dead one's place counts on from there."""
    alone, expected = Metrics(), 0.25 * 3
    for _ in range(3):
        _count(alone)
    first = Metrics(CountedTogether(folder=tmp_path, number=1))
    _count(first)
    second = Metrics(CountedTogether(folder=tmp_path, number=2))
    _count(second)
    after_first = Metrics(CountedTogether(folder=tmp_path, number=1))
    _count(after_first)

    told = figures(alone)
    assert told == figures(second) == figures(after_first)
    assert told["halley_http_request_seconds_sum", _labels(method="GET", route="/", status="200")] == expected
    assert told["halley_callbacks_total", _labels(outcome="taken")] == 3
    assert told["halley_open_runs", _labels(state="running")] == 3
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)


def _labels(**words: str) -> frozenset[tuple[str, str]]:
    return frozenset(words.items())


def _count(metrics: Metrics) -> None:
    metrics.callbacks("taken").inc()
    metrics.requests("GET", "/", "200").observe(0.25)
