"""Runs that show what the simulator plays: one that upstream calls back about, and one that it never does.

Here because only the simulator may name a provider; who plays them is `demo`.
"""

from typing import Any

from msgspec import Struct


class Scene(Struct, frozen=True, kw_only=True):
    """One run to show.

    Attributes:
        node: What is run.
        input: Its input, marks among it.
        about: What is to be seen, for people.
        calls_back: Whether the simulator will call back.
        look_s: Seconds between two questions about it.
    """

    node: str
    input: dict[str, Any]
    about: str
    calls_back: bool
    look_s: float


def scenes(simulator_url: str) -> tuple[Scene, ...]:
    """Return the runs to show."""
    return (
        Scene(
            node="kling.text_to_video",
            input={"prompt": "A comet over a winter sea at dawn"},
            about="upstream calls back when it is done, and Halley asks once whether that is true",
            calls_back=True,
            look_s=2.5,
        ),
        Scene(
            node="kling.image_to_video",
            input={
                "image": f"{simulator_url}/media/first-frame.png",
                "prompt": "The comet rises over the sea [[callback:never]]",
            },
            about="upstream never calls back ([[callback:never]] in the prompt); polling alone finds the end",
            calls_back=False,
            look_s=1.0,
        ),
    )
