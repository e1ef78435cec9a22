"""Tasks: where they stand follows from the time, and tables keep their size."""

import pytest

from service.simulator import Scenario, SimulatorOptions
from service.simulator.callbacks import posts_of, refusal_of
from service.simulator.journal import shortened, unknown_keys
from service.simulator.tasks import Snowflakes, Task, TaskTable

NOW = 1_790_000_000.0


class StoppedClock:
    """Always tells the same time."""

    def now(self) -> float:
        """Return it."""
        return NOW


def make_task(task_id: str = "1", *, external_id: str = "", scenario: Scenario | None = None) -> Task:
    """Make a task that takes ten seconds."""
    return Task(
        id=task_id,
        public_id=task_id,
        operation="text_to_video",
        path="/kling/v1/videos/text2video",
        base_url="http://127.0.0.1",
        external_id=external_id,
        scenario=scenario or Scenario(),
        created_at=NOW,
        finished_at=NOW + 10,
    )


def test_a_task_goes_through_its_life_by_the_time_alone() -> None:
    """Submitted, then processing with growing progress, then its end."""
    task = make_task()

    seen = [(task.phase(NOW + after), task.percent(NOW + after)) for after in (0, 1, 5, 10, 60)]

    assert seen == [
        ("submitted", 0),
        ("processing", 10),
        ("processing", 50),
        ("succeeded", 100),
        ("succeeded", 100),
    ]


def test_ids_are_digits_and_never_repeat_within_one_moment() -> None:
    """Ids have 18 digits, above what a float holds, and grow even while the clock stands."""
    ids = Snowflakes(StoppedClock())

    made = [ids.next() for _ in range(100)]

    assert len(set(made)) == 100
    assert all(len(one) == 18 and int(one) > 2**53 for one in made)


def test_the_table_forgets_the_oldest_task_everywhere() -> None:
    """A task beyond the limit is gone by its own id and by the caller's."""
    table = TaskTable(limit=2)

    for number in "123":
        table.add(make_task(number, external_id=f"order-{number}"))

    assert [task.id for task in table.all()] == ["2", "3"]
    assert table.by_id("1") is None
    assert table.by_external_id("order-1") == []
    assert [task.id for task in table.by_external_id("order-3")] == ["3"]


def test_a_counted_mark_is_played_so_often_and_no_more() -> None:
    """`[[not_found:2]]` holds for two queries."""
    task = make_task(scenario=Scenario(not_found=2))

    assert [task.plays("not_found") for _ in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("mode", "phases", "delays_s"),
    [
        ("changes", ["submitted", "processing", "succeeded"], [0, 1, 10]),
        ("last", ["succeeded"], [10]),
        ("early", ["succeeded"], [10]),
        ("twice", ["submitted", "processing", "succeeded", "succeeded"], [0, 1, 10, 10]),
        ("reordered", ["succeeded", "processing", "submitted"], [10, 10, 10]),
        ("lying", ["submitted", "processing", "succeeded"], [0, 1, 8]),
        ("never", [], []),
    ],
)
def test_callbacks_come_in_the_order_of_their_mode(mode: str, phases: list[str], delays_s: list[float]) -> None:
    """Each mode has its own order and times."""
    task = make_task(scenario=Scenario(callback=mode))  # type: ignore[arg-type]

    posts = posts_of(task, lie_s=2)

    assert [post.phase for post in posts] == phases
    assert [post.due_at - NOW for post in posts] == pytest.approx(delays_s)


@pytest.mark.parametrize(
    ("url", "posted"),
    [
        ("http://127.0.0.1:9/x", True),
        ("http://127.8.9.1/x", True),
        ("http://[::1]:9/x", True),
        ("http://localhost:9/x", True),
        ("http://example.com/x", False),
        ("http://localhost.example.com/x", False),
        ("http://127.0.0.1.example.com/x", False),
        ("http://127.0.0.1@example.com/x", False),
        ("http://10.0.0.1/x", False),
        ("http://0.0.0.0/x", False),
        ("http://2130706433/x", False),
        ("http://[::ffff:10.0.0.1]/x", False),
        ("http://", False),
        ("http://[::1", False),
    ],
)
def test_callbacks_go_to_this_machine_only(url: str, posted: bool) -> None:  # noqa: FBT001
    """Whatever is not literally loopback or localhost is refused without asking a resolver."""
    assert (refusal_of(url) == "") is posted


def test_unknown_keys_are_found_at_any_depth() -> None:
    """Keys that the typed form lacks are listed by their path, in objects and in lists."""
    sent = {"prompt": "a", "model": "x", "input": {"image": "b", "size": 1}, "shots": [{"index": 1, "at": 2}]}
    known = {"prompt": "a", "n": 1, "input": {"image": "b"}, "shots": [{"index": 1}]}

    assert unknown_keys(sent, known) == ["model", "input.size", "shots.0.at"]


def test_long_strings_are_shortened_in_the_journal() -> None:
    """A picture leaves its beginning and its length."""
    body = {"image": "iVBOR" + "A" * 9995, "list": [{"image": "B" * 600}], "prompt": "short"}

    kept = shortened(body)

    assert kept["image"].startswith("iVBOR")
    assert kept["image"].endswith("(10000 characters)")
    assert len(kept["list"][0]["image"]) < 100
    assert kept["prompt"] == "short"


def test_a_speed_of_nothing_is_refused() -> None:
    """Durations are divided by the speed."""
    with pytest.raises(ValueError, match="speed must be above 0"):
        SimulatorOptions(speed=0)
