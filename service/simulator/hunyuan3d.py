"""Hunyuan3D: the job pairs of the provider and of its token hub, and the answer of the shared pictures' route.

The reference can only guess how the aggregator mounts the family; what it knows are the shapes, and they are played
here: a whole answer with file links, jobs in the provider's envelope, jobs in the hub's.
"""

import base64
from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from aiohttp import web
from msgspec import Meta, field

from service.simulator.aggregator import Refused, json_answer, platform_error
from service.simulator.family import Call, Family, Json, Look, Operation, sample
from service.simulator.tasks import Phase, Task

MODERATION_TEXT = "The prompt or picture holds sensitive content."
FAILURE_TEXT = "The mesh could not be built."
INLINE = "b64_json"
JOB_WORDS: dict[Phase, str] = {"submitted": "WAIT", "processing": "RUN", "succeeded": "DONE", "failed": "FAIL"}
HUB_WORDS: dict[Phase, str] = {
    "submitted": "queued",
    "processing": "in_progress",
    "succeeded": "completed",
    "failed": "failed",
}

Prompt = Annotated[str, Meta(max_length=1024)]
Url = Annotated[str, Meta(pattern=r"^(https?://\S+|data:image/\S+)?$")]
Base64 = Annotated[str, Meta(pattern=r"^([A-Za-z0-9+/]+={0,2})?$")]
Faces = Annotated[int, Meta(ge=40_000, le=1_500_000)]
Kind = Literal["OBJ", "GLB", "STL", "USDZ", "FBX", "MP4"]
Style = Literal["Normal", "LowPoly", "Geometry", "Sketch"]
Polygon = Literal["triangle", "quadrilateral"]


def _require_source(prompt: str, pictures: int, style: str) -> None:
    """Ask for words or one picture; both go together in a sketch only."""
    if pictures > 1 or not (prompt or pictures):
        raise ValueError("Prompt or one image is required")
    if prompt and pictures and style != "Sketch":
        raise ValueError("Prompt and image cannot be used together")


class Job(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Body of a job at the provider."""

    model: str = "3.0"
    prompt: Prompt = ""
    image_url: Url = ""
    image_base64: Base64 = ""
    multi_view_images: list[Json] = []
    result_format: Kind = "GLB"
    enable_pbr: bool = field(name="EnablePBR", default=False)
    face_count: Faces = 500_000
    generate_type: Style = "Normal"
    polygon_type: Polygon = "triangle"
    enable_geometry: bool = False

    def __post_init__(self) -> None:
        _require_source(self.prompt, bool(self.image_url) + bool(self.image_base64), self.generate_type)
        if self.model == "3.1" and self.generate_type in ("LowPoly", "Sketch"):
            raise ValueError(f"GenerateType {self.generate_type} is not supported by 3.1")


class Generation(msgspec.Struct, frozen=True, kw_only=True):
    """Body of the shared pictures' route and of the hub."""

    model: str
    prompt: Prompt = ""
    image: Url = ""
    image_url: Url = ""
    image_base64: Base64 = ""
    multi_view_images: list[Json] = []
    result_format: Kind = "GLB"
    response_format: Literal["url", "b64_json"] = "url"
    enable_pbr: bool = False
    face_count: Faces | None = None
    generate_type: Style = "Normal"
    polygon_type: Polygon = "triangle"
    enable_geometry: bool = False
    seed: int | None = None
    num_inference_steps: Annotated[int, Meta(ge=1)] | None = None
    guidance_scale: float | None = None
    octree_resolution: int | None = None
    texture: bool = False

    def __post_init__(self) -> None:
        pictures = sum(map(bool, (self.image, self.image_url, self.image_base64)))
        _require_source(self.prompt, pictures, self.generate_type)


class AskedJob(msgspec.Struct, frozen=True):
    """Body of a query at the provider."""

    job_id: str = field(name="JobId")


class AskedHub(msgspec.Struct, frozen=True):
    """Body of a query at the hub."""

    id: str
    model: str = ""


def _failure_text(task: Task) -> str:
    usual = MODERATION_TEXT if task.scenario.outcome == "moderation" else FAILURE_TEXT
    return task.scenario.failure_text or usual


def _suffix(kind: str) -> str:
    return "zip" if kind == "OBJ" else kind.lower()


def _files(look: Look) -> list[Json]:
    if look.phase != "succeeded" or look.unknown or look.empty:
        return []
    kind = look.task.facts
    return [{"Type": kind, "Url": look.link(f"0.{_suffix(kind)}"), "PreviewImageUrl": look.link("preview.png")}]


def job_object(look: Look) -> Json:
    """Tell of a job as the provider does; errors are empty texts while there is none."""
    failed = look.phase == "failed"
    moderated = look.task.scenario.outcome == "moderation"
    code = "OperationDenied" if moderated else "FailedOperation"
    files = _files(look)
    return {
        "Status": "PAUSED" if look.unknown else JOB_WORDS[look.phase],
        "ErrorCode": code if failed else "",
        "ErrorMessage": _failure_text(look.task) if failed else "",
        "ResultFile3Ds": [{"File3D": files}] if look.task.scenario.envelope == "double" and files else files,
    }


def hub_object(look: Look) -> Json:
    """Tell of a job as the hub does."""
    files = [{"type": each["Type"].lower(), "url": each["Url"]} for each in _files(look)]
    return {"status": "paused" if look.unknown else HUB_WORDS[look.phase], "data": files}


class Hunyuan3d(Family):
    """Jobs, asked for by a body."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations."""
        provider, hub = "/v1/ai3d", "/v1/api/3d"
        return (
            Operation(name="generate", path=f"{provider}/submit", answer=self._submit, body=Job, usual_s=150.0),
            Operation(name="query", path=f"{provider}/query", answer=self._query, body=AskedJob, asks=True),
            Operation(
                name="hub_generate", path=f"{hub}/submit", answer=self._submit_hub, body=Generation, usual_s=150.0
            ),
            Operation(name="hub_query", path=f"{hub}/query", answer=self._query_hub, body=AskedHub, asks=True),
        )

    def _responded(self, told: Json) -> web.Response:
        told = told | {"RequestId": self.stage.ids.next()}
        return json_answer(told if self.stage.options.envelope == "openai" else {"Response": told})

    def _refusal(self, code: str, message: str) -> web.Response:
        return self._responded({"Error": {"Code": code, "Message": message}})

    def invalid(self, message: str) -> web.Response:
        """Refuse inside HTTP 200."""
        return self._refusal("InvalidParameter", message)

    def busy(self) -> web.Response:
        """Refuse inside HTTP 200: too many jobs at once."""
        return self._refusal("RequestLimitExceeded.JobNumExceed", "concurrency limit reached")

    def unknown_task(self) -> web.Response:
        """Answer a question about a job that there is not."""
        return self._refusal("InvalidParameterValue.JobNotExist", "task not found")

    async def _submit(self, call: Call) -> web.Response:
        task = await call.create(facts=call.body.result_format)
        return self._responded({"JobId": task.public_id})

    async def _query(self, call: Call) -> web.Response:
        return self._responded(job_object(self.look(await self._found(call, call.body.job_id, "generate"))))

    async def _submit_hub(self, call: Call) -> web.Response:
        task = await call.create(facts=call.body.result_format, make_id=lambda number: f"hy3d-{number}")
        return json_answer({"id": task.public_id})

    async def _query_hub(self, call: Call) -> web.Response:
        return json_answer(hub_object(self.look(await self._found(call, call.body.id, "hub_generate"))))

    async def _found(self, call: Call, job_id: str, operation: str) -> Task:
        task = await self.find_or_hang(call, job_id)
        if task.operation != operation or not isinstance(task.facts, str):
            raise Refused(self.unknown_task())
        return task


def image_answer(call: Call) -> web.Response:
    """Answer the shared pictures' route for a model of this family: links to files, or the file itself.

    The envelope `double` answers with file objects instead of a list.

    Raises:
        Refused: The body is not one that these models take, or the scenario wants it refused.
    """
    number = call.stage.ids.next()
    try:
        body = msgspec.convert(call.sent, Generation)
    except msgspec.ValidationError as error:
        raise Refused(platform_error(HTTPStatus.BAD_REQUEST, str(error), "invalid_request", number)) from error
    if call.scenario.outcome == "moderation":
        code = "content_policy_violation"
        raise Refused(platform_error(HTTPStatus.BAD_REQUEST, MODERATION_TEXT, code, number))
    if call.scenario.outcome != "succeed":
        text = call.scenario.failure_text or FAILURE_TEXT
        raise Refused(platform_error(HTTPStatus.INTERNAL_SERVER_ERROR, text, "", number))
    return json_answer(_whole(call, body))


def _whole(call: Call, body: Generation) -> Json:
    created: Json = {"created": int(call.stage.clock.now())}
    if call.scenario.empty:
        return created | {"data": []}
    if body.response_format == INLINE:
        return created | {"data": [{INLINE: base64.b64encode(sample("glb")).decode()}]}
    name = f"0.{_suffix(body.result_format)}"
    if call.scenario.envelope == "double":
        return {"model_mesh": _file_object(call.link(name), name)}
    return created | {"data": [{"url": call.link(name)}]}


def _file_object(url: str, name: str) -> dict[str, Any]:
    content_type = "application/zip" if name.endswith(".zip") else "model/gltf-binary"
    return {"url": url, "content_type": content_type, "file_name": name, "file_size": len(sample("glb"))}
