"""Every operation of the document, sent what it allows and what it forbids, with all checks of schemathesis.

`HALLEY_FUZZ_EXAMPLES=200` makes it longer and different each time. Tests are made when they run, not when they are
collected, since schemathesis thinks for seconds about an operation.
"""

import json
import os
from collections import Counter
from typing import Any

import pytest
import schemathesis
from msgspec import Struct
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import ScenarioRecorder

from service.api.openapi import build_document
from tests.fakes.house import API_KEY, shipped_catalog

CATALOG = shipped_catalog()
DOCUMENT = json.loads(build_document(CATALOG))
OPERATIONS = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
LONG = int(os.environ.get("HALLEY_FUZZ_EXAMPLES", "0"))
TIMEOUT_S = LONG * 30 or 120
SEED = 2061
PHASES = ("examples", "coverage", "fuzzing", "stateful")
NEEDS_A_RUN = (
    "show_run",
    "show_timeline",
    "cancel_run",
    "adopt_run",
    "abandon_run",
    "retry_run",
    "receive_callback",
    "show_group",
    "close_group",
    "cancel_group",
    "show_file",
    "send_artifact",
    "describe_artifact",
)

# Which inputs a run takes stands with its node, and a group is refused when none of its runs can be started.
UNTOLD = (("POST /v1/groups", "positive_data_acceptance"),)


class Outcome(Struct, frozen=True):
    """What a run of schemathesis found, and how often each status was answered."""

    findings: list[str]
    statuses: Counter[int]


def fuzz(base_url: str, phases: set[str], **which: Any) -> Outcome:
    """Let schemathesis run phases on operations.

    Args:
        base_url: Where Halley is.
        phases: Of `examples`, `coverage`, `fuzzing` and `stateful`.
        which: Filter of operations.
    """
    config = SchemathesisConfig.from_dict(
        {
            "base-url": base_url,
            "headers": {"X-API-Key": API_KEY, "Authorization": f"Bearer {API_KEY}"},
            "cache": {"enabled": False},
            "generation": {
                "deterministic": not LONG,
                "max-examples": LONG or 4,
                "with-security-parameters": False,  # the headers above would replace them
            },
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            **({} if LONG else {"seed": SEED}),
        }
    )
    schema = schemathesis.openapi.from_dict(DOCUMENT, config=config).include(**which)
    findings, statuses = [], Counter[int]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            findings.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
        elif isinstance(event, events.ScenarioFinished):
            findings += failures(event.recorder)
            statuses.update(i.response.status_code for i in event.recorder.interactions.values() if i.response)
    return Outcome(findings, statuses)


def failures(recorder: ScenarioRecorder) -> list[str]:
    """Return the failed checks of a scenario, with the request that shows each."""
    return [
        f"{recorder.label}: {check.name}: {check.failure_info.failure}\n{check.failure_info.code_sample}"
        for checks in recorder.checks.values()
        for check in checks
        if check.failure_info is not None and (recorder.label, check.name) not in UNTOLD
    ]


def thorough() -> set[str]:
    """Return the operations whose every parameter is tried: all but nodes, and of each provider the first node.

    Nodes share their parameters and the code behind them, so the others are tried by their bodies alone.
    """
    if LONG:
        return set(OPERATIONS)
    nodes = {node.id.replace(".", "_"): node.provider.provider for node in CATALOG.nodes.values()}
    firsts = {provider: name for name, provider in reversed(nodes.items())}
    return (set(OPERATIONS) - nodes.keys()) | set(firsts.values())


THOROUGH = thorough()


@pytest.mark.timeout(TIMEOUT_S)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # the generator's own worry about its values
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_does_what_the_document_says(operation: str, base_url: str) -> None:
    """No request, allowed or forbidden, is answered otherwise than the document says."""
    phases = {"examples", "fuzzing"} | ({"coverage"} if operation in THOROUGH else set())
    outcome = fuzz(base_url, phases, operation_id=operation)

    assert not outcome.findings, "\n".join(outcome.findings)
    assert sum(outcome.statuses.values()) > 0
    if operation not in NEEDS_A_RUN:
        assert sum(outcome.statuses[status] for status in (200, 201, 202, 204)) > 0


@pytest.mark.timeout(TIMEOUT_S)
def test_operations_in_sequence_do_what_the_document_says(base_url: str) -> None:
    """What one operation gives can be used in the next, as the links of the document say."""
    outcome = fuzz(base_url, {"stateful"}, operation_id=[OPERATIONS[0], *NEEDS_A_RUN])

    assert not outcome.findings, "\n".join(outcome.findings)
    assert outcome.statuses[200] > 0
    assert outcome.statuses[202] > 0
