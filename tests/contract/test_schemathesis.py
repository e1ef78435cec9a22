"""Every operation of the document, sent what it allows and what it forbids, with all checks of schemathesis."""

import json
import os
from typing import Any
from uuid import uuid4

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig

from service.api.openapi import build_document
from service.definitions.catalog import load_catalog
from tests.contract.conftest import Running
from tests.fakes.house import API_KEY

LONG = int(os.environ.get("HALLEY_FUZZ_EXAMPLES", "0"))
EXAMPLES = LONG or 10
CREDENTIALS = {"X-API-Key": API_KEY, "Authorization": f"Bearer {API_KEY}"}

config = SchemathesisConfig.from_dict(
    {
        "seed": 2061,
        "generation": {"deterministic": not LONG, "max-examples": EXAMPLES, "database": "none"},
    }
)
schema = schemathesis.openapi.from_dict(json.loads(build_document(load_catalog())), config=config)


def with_own_key(case: Any) -> None:
    """Keep the promise that clients make with an idempotency key: another request has another key."""
    if case.headers and "Idempotency-Key" in case.headers and case.meta.generation.mode.is_positive:
        case.headers["Idempotency-Key"] = str(uuid4())


@schema.parametrize()
@pytest.mark.timeout(LONG * 60 or 120)
def test_every_operation_does_what_the_document_says(case: Any, running: Running) -> None:
    """No request, allowed or forbidden, is answered otherwise than the document says."""
    with_own_key(case)

    case.call_and_validate(base_url=running.url, headers=dict(CREDENTIALS))
