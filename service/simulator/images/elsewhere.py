"""What picture models say on routes of another family: in a chat, and in Gemini's parts.

How those routes wrap it does not belong here.
"""

import base64

from service.simulator.family import Json, sample
from service.simulator.samples import LINK_LIFE_S, link
from service.simulator.scenario import Scenario
from service.simulator.stage import Stage


def inline(suffix: str = "png") -> str:
    """Return a small real picture as base64."""
    return base64.b64encode(sample(suffix)).decode()


def image_chat_text(stage: Stage, base_url: str, scenario: Scenario | None = None) -> str:
    """Write what a picture model says in a chat: progress, the picture, a link to download it.

    Args:
        stage: Gives clock and ids.
        base_url: How the caller reached the simulator.
        scenario: With an outcome other than success, or `empty`, there is prose and no picture.
    """
    said = scenario or stage.scenario
    if said.outcome == "moderation":
        return "I can't create that picture because it would break our content policy."
    if said.outcome != "succeed" or said.empty:
        return said.failure_text or "> Progress **12%**\n\nGeneration failed, please try again."
    name = f"file_{stage.ids.next()}"
    url = link(base_url, f"{name}.png", stage.clock.now() + LINK_LIFE_S)
    progress = "> Progress **34%**\n> Progress **88%**\n> Done"
    return f"{progress}\n\n![{name}]({url})\n\n[Download]({url})"


def image_parts() -> list[Json]:
    """List the parts in which a Gemini picture model answers: a draft, a caption, the picture."""
    picture = {"inlineData": {"mimeType": "image/png", "data": inline()}}
    draft = {"inlineData": {"mimeType": "image/jpeg", "data": inline("jpeg")}, "thought": True}
    return [draft, {"text": "Here is your picture."}, picture]
