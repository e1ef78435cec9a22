"""What came of a scene, and what in it is not as it should be."""

from typing import Any

from msgspec import Struct

from service.demo.receiver import ReceivedEvent
from service.simulator.showcase import Scene


class Played(Struct, frozen=True, kw_only=True):
    """What came of a scene.

    Attributes:
        scene: What was played.
        run: The run after its end.
        callbacks: How often upstream called back about it.
        questions: How often upstream was asked about it.
        event: What the receiver was told.
        told_after_s: From the end at upstream to the receiver; None when upstream never had the task.
    """

    scene: Scene
    run: dict[str, Any]
    callbacks: int
    questions: int
    event: ReceivedEvent
    told_after_s: float | None


def faults_of(played: Played) -> list[str]:
    """Return what did not happen in a scene that came to its end."""
    name, run, faults = played.scene.node, played.run, list[str]()
    if run["state"] != "succeeded":
        faults.append(f"{name}: the run {run['state']}: {(run['error'] or {}).get('message')}")
    elif not any(artifact["url"] for artifact in run["artifacts"]):
        faults.append(f"{name}: the run succeeded without a result")
    if played.event.fault:
        faults.append(f"{name}: the signature of its event did not verify: {played.event.fault}")
    elif (played.event.body or {}).get("type") != f"run.{run['state']}":
        faults.append(f"{name}: its event does not tell that it {run['state']}")
    if run["state"] == "succeeded" and played.scene.calls_back != bool(played.callbacks):
        faults.append(f"{name}: " + ("no callback came" if played.scene.calls_back else "a callback came"))
    return faults
