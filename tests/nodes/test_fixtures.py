"""Every shipped node reads the recorded answers as their fixtures say."""

from typing import Any

import pytest

from service.definitions.catalog import compile_catalog
from service.definitions.loader import load, shipped
from service.definitions.proof import Proof, differences, proofs

DEFINITIONS = load([shipped()], fixtures=True)
CATALOG = compile_catalog(DEFINITIONS)


def _proofs() -> list[Any]:
    found = proofs(DEFINITIONS, CATALOG)
    return [pytest.param(proof, id=f"{proof.node.id}-{proof.place.partition('/')[2]}") for proof in found]


@pytest.mark.parametrize("proof", _proofs())
def test_fixtures(proof: Proof) -> None:
    """Each answer is read as its fixture says, in every key that the fixture names."""
    found = {case.name: differences(proof.node, case) for _, case in proof.cases}

    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_every_node_has_fixtures() -> None:
    """Every node that gets answers is proved by recorded ones; a WebSocket's are proved by holding a turn."""
    answered = {name for name, node in CATALOG.nodes.items() if node.node.kind not in ("local", "flow")}
    held = {name for name, node in CATALOG.nodes.items() if node.node.socket}

    assert answered - held - {proof.node.id for proof in proofs(DEFINITIONS, CATALOG)} == set()
