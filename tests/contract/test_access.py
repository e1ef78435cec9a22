"""The document says who may call what: as the table of scopes, and as the service itself."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from service.api.openapi import build_document
from service.api.scopes import ACCESS
from tests.fakes.house import shipped_catalog

CATALOG = shipped_catalog()
DOCUMENT = json.loads(build_document(CATALOG))
START, CALLBACK = "POST /v1/nodes/{node}/runs", "POST /v1/callbacks/{token}"


def operations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every operation with the route that serves it."""
    starts = {f"/v1/nodes/{name}/runs" for name in CATALOG.nodes}
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield START if path in starts else f"{method.upper()} {path}", operation


OPERATIONS = list(operations())


@pytest.mark.parametrize(("route", "operation"), OPERATIONS, ids=[each["operationId"] for _, each in OPERATIONS])
def test_the_document_tells_who_may_call(route: str, operation: dict[str, Any]) -> None:
    """403 stands where a good key or a link can be refused, 429 where any key can, and no key where none is needed."""
    access = ACCESS[route]

    assert ("403" in operation["responses"]) == (access in ("link", "run", "admin"))
    assert (operation.get("security") == []) == (access == "public")
    assert (f"scope `{access}`" in operation.get("description", "")) == (access in ("run", "admin"))
    assert ("429" in operation["responses"]) == (access != "public" or route == CALLBACK)


def test_a_day_that_is_used_up_is_told_in_full() -> None:
    """Its answer has the time to wait, in the header and in the body."""
    answer = DOCUMENT["components"]["responses"]["TooMany"]

    assert answer["headers"].keys() == {"Retry-After"}
    assert "retry_after_s" in DOCUMENT["components"]["schemas"]["Problem"]["properties"]
    assert "retry_after_s" not in DOCUMENT["components"]["schemas"]["Problem"]["required"]
