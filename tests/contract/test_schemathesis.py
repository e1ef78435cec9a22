"""Every operation of the document, sent what it allows and what it forbids, with all checks of schemathesis."""

import json
import os
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.config import SchemathesisConfig

from service.api.openapi import build_document
from service.definitions.catalog import load_catalog
from tests.fakes.house import API_KEY

LONG = int(os.environ.get("HALLEY_FUZZ_EXAMPLES", "0"))
EXAMPLES = LONG or 10
CREDENTIALS = {"X-API-Key": API_KEY, "Authorization": f"Bearer {API_KEY}"}

FLOW_SETTINGS = settings(
    max_examples=LONG or 40,
    stateful_step_count=8,
    derandomize=not LONG,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

config = SchemathesisConfig.from_dict(
    {
        "seed": 2061,
        "generation": {"deterministic": not LONG, "max-examples": EXAMPLES, "database": "none",
            "with-security-parameters": False},
    }
)
schema = schemathesis.openapi.from_dict(json.loads(build_document(load_catalog())), config=config)


def with_own_key(case: Any) -> None:
    """Keep the promise that clients make with an idempotency key: another request has another key."""
    if case.headers and "Idempotency-Key" in case.headers and case.meta.generation.mode.is_positive:
        case.headers["Idempotency-Key"] = str(uuid4())


@schema.parametrize()
@pytest.mark.timeout(LONG * 60 or 120)
def test_every_operation_does_what_the_document_says(case: Any, base_url: str) -> None:
    """No request, allowed or forbidden, is answered otherwise than the document says."""
    with_own_key(case)

    case.call_and_validate(base_url=base_url, headers=dict(CREDENTIALS))


class Flow(schema.as_state_machine()):  # type: ignore[misc]
    """Follows the links of the document: a start, then reading, canceling and retrying the run."""

    base_url: str

    def before_call(self, case: Any) -> None:
        """Give the request a key of its own."""
        with_own_key(case)

    def get_call_kwargs(self, case: Any) -> dict[str, Any]:
        """Send the request to the Halley under test."""
        return {"base_url": self.base_url, "headers": dict(CREDENTIALS)}


@pytest.mark.timeout(LONG * 60 or 120)
def test_operations_in_sequence_do_what_the_document_says(base_url: str) -> None:
    """What one operation gives can be used in the next, as the links of the document say."""
    Flow.base_url = base_url

    Flow.run(settings=FLOW_SETTINGS)
