"""What an API key allows: scopes one within the other, patterns of nodes."""

import pytest

from service.api.auth import Caller
from service.api.scopes import needed_scope
from service.errors import BeyondKey
from service.store.base import KeyScope
from service.store.starts import Allowance


def caller(scope: KeyScope = "admin", nodes: tuple[str, ...] = (), runs_per_day: int | None = None) -> Caller:
    """Return a caller of the workspace `w 1`."""
    return Caller(key_id="key_1", workspace="w 1", scope=scope, nodes=nodes, runs_per_day=runs_per_day)


@pytest.mark.parametrize(
    ("scope", "covered"),
    [("read", ["read"]), ("run", ["read", "run"]), ("admin", ["read", "run", "admin"])],
)
def test_a_wider_scope_holds_the_narrower_ones(scope: KeyScope, covered: list[KeyScope]) -> None:
    """`admin` may do what `run` may, and `run` what `read` may; never the other way round."""
    allowed = []
    every: tuple[KeyScope, ...] = ("read", "run", "admin")
    for needed in every:
        try:
            caller(scope).require_scope(needed)
        except BeyondKey:
            continue
        allowed.append(needed)

    assert allowed == covered


def test_a_refusal_says_how_to_get_a_key_that_may() -> None:
    """It names what is needed, what the key has, and a command that can be copied."""
    with pytest.raises(BeyondKey) as scope:
        caller("read").require_scope("run")
    with pytest.raises(BeyondKey) as node:
        caller(nodes=("text.*", "*.text_to_video")).require_node("audio.speech")

    assert "scope `run`" in scope.value.detail
    assert "`read`" in scope.value.detail
    assert "halley keys create NAME --workspace 'w 1' --scope run" in scope.value.detail
    assert "text.*, *.text_to_video" in node.value.detail
    assert "--nodes audio.speech" in node.value.detail


@pytest.mark.parametrize(
    ("patterns", "node", "allowed"),
    [
        ((), "text.chat", True),
        (("text.*",), "text.chat", True),
        (("text.*",), "texts.chat", False),
        (("text.*",), "audio.text.chat", False),
        (("*.text_to_video",), "kling.text_to_video", True),
        (("*.text_to_video",), "kling.text_to_video_2", False),
        (("audio.*", "text.chat"), "text.chat", True),
        (("TEXT.*",), "text.chat", False),
        (("*",), "text.chat", True),
    ],
)
def test_patterns_fit_whole_ids(patterns: tuple[str, ...], node: str, *, allowed: bool) -> None:
    """A star stands for anything, everything else for itself; no pattern means all nodes."""
    assert caller(nodes=patterns).may_run(node) is allowed


def test_an_allowance_belongs_to_its_key() -> None:
    """A key without a limit has none."""
    assert caller().allowance is None
    assert caller(runs_per_day=3).allowance == Allowance(key_id="key_1", runs_per_day=3)


def test_an_unknown_route_asks_for_the_widest_scope() -> None:
    """Whoever forgets the table shuts a route, and opens none."""
    assert needed_scope("POST", "/v1/anything/new") == "admin"
    assert needed_scope("PUT", "/v1/runs") == "admin"
