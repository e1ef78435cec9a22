"""What chat models say that make files: markdown with links, told to people and not to programs.

The links lead to this simulator, under the paths that the real ones have.
"""

import time
from http import HTTPStatus

from aiohttp import web

from service.simulator.family import Call
from service.simulator.samples import CONTENT_TYPES, FOLDER
from service.simulator.text.speech import plain

IMAGE_MODELS = ("gpt-4o-image", "gpt-4o-all")
VIDEO_PREFIX = "veo"
REFUSAL = "I can't create that, since the request may violate our content policy. Please change your prompt."


def makes_files(model: str) -> bool:
    """Tell whether a chat model answers with links to files."""
    return model.startswith((VIDEO_PREFIX, *IMAGE_MODELS))


def told(call: Call, model: str, prompt: str) -> str:
    """Write what such a model answers; a failure is prose without a link."""
    if call.scenario.outcome == "moderation":
        return REFUSAL
    make = _video if model.startswith(VIDEO_PREFIX) else _image
    return make(call, model, plain(prompt))


def _paths(call: Call, suffix: str) -> tuple[str, str, str]:
    number = call.stage.ids.next()
    date = time.strftime("%Y%m%d", time.gmtime(call.stage.clock.now()))
    base = call.base_url
    return number, f"{base}/cdn/{date}/{number}.{suffix}", f"{base}/cdn/download/{date}/{number}.{suffix}"


def _failure(call: Call) -> str:
    return call.scenario.failure_text or "generation failed, please try again later"


def _video(call: Call, model: str, _prompt: str) -> str:
    number, watch, download = _paths(call, "mp4")
    task_id = f"{model}:{number[:8]}-{number[8:12]}-4{number[12:15]}-8{number[15:18]}-000000000000"
    lines = [
        f"> Task ID: `{task_id}`",
        f"> [Preview]({call.base_url}/web/{task_id}) | [Source]({call.base_url}/source/{task_id})",
        "> Queueing",
        "> Generating video 30%",
    ]
    if call.scenario.outcome != "succeed" or call.scenario.empty:
        return "\n".join([*lines, f"> {_failure(call)}", ""])
    return "\n".join([*lines, "> Done 100%", "", f"[Watch online]({watch}) | [Download]({download})", ""])


def _image(call: Call, _model: str, prompt: str) -> str:
    number, shown, download = _paths(call, "png")
    quoted = prompt.replace('"', "'")
    lines = ["```json", f'{{"prompt": "{quoted}", "ratio": "1:1"}}', "```", "", "> 进度 **34%**", "> 进度 **82%**"]
    if call.scenario.outcome != "succeed" or call.scenario.empty:
        return "\n".join([*lines, "", _failure(call), ""])
    return "\n".join([*lines, "", f"![file_{number}]({shown})", "", f"[Download]({download})", ""])


async def serve(request: web.Request) -> web.StreamResponse:
    """Serve the file behind one of the links."""
    suffix = request.match_info["suffix"]
    if suffix not in CONTENT_TYPES:
        return web.Response(status=HTTPStatus.NOT_FOUND)
    return web.FileResponse(FOLDER / f"sample.{suffix}", headers={"Content-Type": CONTENT_TYPES[suffix]})
