"""Where the family's operations stand and what each of them does.

Any path may carry a prefix that chooses the speed. A button that opens a window parks its task until the
window is confirmed; then the same id goes on.
"""

from typing import NoReturn

import msgspec
from aiohttp import web

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Answer, Call, Family, Operation, sample
from service.simulator.midjourney import answers, bodies
from service.simulator.midjourney.answers import Facts, accepted, envelope, relay_refusal, task_object
from service.simulator.midjourney.buttons import Press, buttons_of, press_of
from service.simulator.tasks import Task

PREFIX = r"/{speed:(?:mj-(?:relax|fast|turbo)/)?}mj"
BLENDED_AT_LEAST, BLENDED_AT_MOST = 2, 5
VIDEO_S = 90.0


def _id_of(number: str) -> str:
    return f"1{number[-15:]}"


def _refuse(description: str) -> NoReturn:
    raise Refused(relay_refusal(description))


class Midjourney(Family):
    """The family on a stage."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations, in the order of the reference."""
        return (
            self._submission("imagine", "imagine", bodies.Imagine, self._imagine),
            self._submission("submit_video", "video", bodies.Video, self._video, VIDEO_S),
            self._submission("submit_editor", "edits", bodies.Edits, self._edits),
            self._submission("action", "action", bodies.Action, self._action, 30.0),
            self._submission("blend", "blend", bodies.Blend, self._blend),
            self._submission("describe", "describe", bodies.Describe, self._describe, 15.0),
            self._submission("modal", "modal", bodies.Modal, self._modal),
            self._question("fetch_task", "/task/{task_id}/fetch", self._fetch),
            Operation(
                name="list_tasks",
                path=f"{PREFIX}/task/list-by-condition",
                body=bodies.Condition,
                answer=self._list,
                asks=True,
            ),
            self._submission("change", "change", bodies.Change, self._change),
            self._submission("shorten", "shorten", bodies.Shorten, self._shorten, 15.0),
            self._submission("upload_images", "upload-discord-images", bodies.Upload, self._upload),
            self._question("image_seed", "/task/{task_id}/image-seed", self._seed),
            Operation(name="cancel", path=f"{PREFIX}/task/{{task_id}}/cancel", answer=self._cancel),
            Operation(name="face_swap", path=f"{PREFIX}/insight-face/swap", body=bodies.Swap, answer=self._swap),
            Operation(name="image", path=f"{PREFIX}/image/{{task_id}}", method="GET", answer=self._image, key="none"),
        )

    def _submission(
        self,
        name: str,
        end: str,
        body: type[msgspec.Struct],
        answer: Answer,
        usual_s: float = 60.0,
    ) -> Operation:
        return Operation(name=name, path=f"{PREFIX}/submit/{end}", body=body, answer=answer, usual_s=usual_s)

    def _question(self, name: str, end: str, answer: Answer) -> Operation:
        return Operation(name=name, path=PREFIX + end, method="GET", encoding=("none",), answer=answer)

    def invalid(self, message: str) -> web.Response:
        """Refuse as the relay does a body that it cannot bind."""
        return relay_refusal(f"bind_request_body_failed: {message}")

    def refused(self, code: int) -> web.Response:
        """Refuse with one of the proxy's codes, or with an HTTP status."""
        return answers.rejected(code) if code in answers.DESCRIPTIONS else super().refused(code)

    def busy(self) -> web.Response:
        """Refuse because the queue is full."""
        return answers.rejected(answers.QUEUE_FULL)

    def unknown_task(self) -> web.Response:
        """Answer a question about an unknown task."""
        return relay_refusal("task_no_found")

    async def _imagine(self, call: Call) -> web.Response:
        prompt = call.body.prompt or _refuse("prompt_is_required")
        action = "VIDEO" if "--video" in prompt else "IMAGINE"
        return accepted(await self._create(call, Facts(action=action, prompt=prompt)))

    async def _video(self, call: Call) -> web.Response:
        body = call.body
        if body.action == "extend":
            if body.index is None or not body.task_id:
                _refuse("task_id_is_required")
            self._parent(body.task_id)
        elif not body.image:
            _refuse("image_is_required")
        task = await self._create(call, Facts(action="VIDEO", prompt=body.prompt, clips=body.batch_size))
        return accepted(task, properties={"prompt": body.prompt})

    async def _edits(self, call: Call) -> web.Response:
        prompt = call.body.prompt or _refuse("prompt_is_required")
        return accepted(await self._create(call, Facts(action="EDITS", prompt=prompt)), number=True)

    async def _action(self, call: Call) -> web.Response:
        body = call.body
        custom_id = body.custom_id or _refuse("custom_id_is_required")
        parent, press = self._parent(body.task_id or _refuse("task_id_is_required")), press_of(custom_id)
        if press is None or (parent is not None and custom_id not in _shown(parent)):
            _refuse(f"unknown_action:{custom_id}")
        pressed = f"press:{body.task_id}:{custom_id}"
        before = self.stage.tasks.by_id(self.stage.sessions.get(pressed) or "")
        if press.once and before is not None:
            return self._exists(before)
        prompt = parent.facts.prompt if parent is not None else ""
        if press.window or (body.enable_remix and press.remix):
            return await self._park(call, press, prompt)
        task = await self._create(call, Facts(action=press.action, prompt=prompt))
        self.stage.sessions.put(pressed, task.public_id)
        return accepted(task)

    async def _park(self, call: Call, press: Press, prompt: str) -> web.Response:
        facts = Facts(action=press.action, prompt=prompt, state=call.body.state or "", parked=True)
        task = await call.create(facts=facts, make_id=_id_of)
        properties = {"finalPrompt": prompt, "remix": True}
        return envelope(answers.EXISTS, "Waiting for window confirm", task.public_id, properties)

    def _exists(self, task: Task) -> web.Response:
        told = task_object(self.look(task))
        properties = {"status": told["status"], "imageUrl": told["imageUrl"]}
        return envelope(answers.EXISTS, "The task exists already", task.public_id, properties)

    async def _blend(self, call: Call) -> web.Response:
        if not BLENDED_AT_LEAST <= len(call.body.base64_array) <= BLENDED_AT_MOST:
            failing = msgspec.structs.replace(
                call.scenario, outcome="fail", failure_text="Blend takes two to five pictures"
            )
            call = msgspec.structs.replace(call, scenario=failing)
        return accepted(await self._create(call, Facts(action="BLEND")), number=True)

    async def _describe(self, call: Call) -> web.Response:
        if (call.body.base64 is None) == (call.body.link is None):
            _refuse("base64_or_link_is_required")
        return accepted(await self._create(call, Facts(action="DESCRIBE")), number=True)

    async def _modal(self, call: Call) -> web.Response:
        body = call.body
        task_id = body.task_id or _refuse("task_id_is_required")
        parked = self.stage.tasks.by_id(task_id)
        if parked is None and self.stage.options.strict_sessions:
            _refuse("task_not_found")
        if parked is not None and not parked.facts.parked:
            return envelope(answers.INVALID, "The task waits for no window", None)
        action = parked.facts.action if parked is not None else "CUSTOM_ZOOM"
        if action == "INPAINT" and body.mask_base64 is None:
            return envelope(answers.INVALID, "maskBase64 is missing", None)
        prompt = body.prompt or (parked.facts.prompt if parked is not None else "")
        return accepted(await self._create(call, Facts(action=action, prompt=prompt), task_id), number=True)

    async def _change(self, call: Call) -> web.Response:
        body = call.body
        self._parent(body.task_id or _refuse("task_id_is_required"))
        if not body.index:
            _refuse("index_parse_failed")
        return accepted(await self._create(call, Facts(action=body.action)))

    async def _shorten(self, call: Call) -> web.Response:
        prompt = call.body.prompt or _refuse("prompt_is_required")
        return accepted(await self._create(call, Facts(action="SHORTEN", prompt=prompt)))

    async def _swap(self, call: Call) -> web.Response:
        return accepted(await self._create(call, Facts(action="SWAP_FACE")))

    async def _upload(self, call: Call) -> web.Response:
        pictures = call.body.base64_array
        if not pictures or not all(each.startswith("data:image/") for each in pictures):
            return envelope(answers.INVALID, "base64Array error", None)
        return envelope(answers.ACCEPTED, "success", [call.link(f"{n}.png") for n in range(len(pictures))])

    async def _fetch(self, call: Call) -> web.Response:
        task = await self.find_or_hang(call, call.request.match_info["task_id"])
        return json_answer(task_object(self.look(task)))

    async def _list(self, call: Call) -> web.Response:
        asked = [self.stage.tasks.by_id(task_id) for task_id in call.body.ids]
        known = [task for task in asked if task is not None and not task.plays("not_found")]
        return json_answer([task_object(self.look(task)) for task in known])

    async def _seed(self, call: Call) -> web.Response:
        task_id = call.request.match_info["task_id"]
        if self.stage.tasks.by_id(task_id) is None and self.stage.options.strict_sessions:
            return envelope(answers.NO_ACCOUNT, "task not found", None)
        return json_answer({"code": answers.ACCEPTED, "description": "success", "result": task_id[-10:]})

    async def _cancel(self, call: Call) -> web.Response:
        """Take the request; the proxy's own promise goes no further."""
        task_id = call.request.match_info["task_id"]
        if self.stage.tasks.by_id(task_id) is None and self.stage.options.strict_sessions:
            return envelope(answers.NO_ACCOUNT, "task not found", None)
        return json_answer({"code": answers.ACCEPTED, "description": "success", "result": task_id})

    async def _image(self, call: Call) -> web.Response:
        self.find(call, call.request.match_info["task_id"])
        return web.Response(body=sample("png"), content_type="image/png")

    def _parent(self, task_id: str) -> Task | None:
        parent = self.stage.tasks.by_id(task_id)
        if parent is None:
            return _refuse("task_not_found") if self.stage.options.strict_sessions else None
        if parent.facts.parked or parent.phase(self.stage.clock.now()) != "succeeded":
            _refuse("task_status_not_success")
        return parent

    async def _create(self, call: Call, facts: Facts, task_id: str = "") -> Task:
        hook = call.body.notify_hook or ""
        return await call.create(
            callback_url=hook,
            render=task_object,
            facts=msgspec.structs.replace(facts, state=call.body.state or "", hook=hook),
            make_id=(lambda _number: task_id) if task_id else _id_of,
        )


def _shown(parent: Task) -> set[str]:
    return {button["customId"] for button in buttons_of(parent.id, parent.facts.action)}
