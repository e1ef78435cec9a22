"""Where the family's operations stand and what each of them does.

Clips are known by their own ids. What is made of a finished clip on demand is not ready when first asked for.
"""

from http import HTTPStatus

from aiohttp import web

from service.simulator.aggregator import Refused, json_answer
from service.simulator.family import Answer, Call, Family, Json, Operation
from service.simulator.suno import answers, bodies
from service.simulator.suno.answers import Facts, clip_ids, clips_of, envelope, id_of, record, refusal
from service.simulator.tasks import Task

CONVERTED_S = 20.0


class Suno(Family):
    """The family on a stage."""

    def operations(self) -> tuple[Operation, ...]:
        """List the operations, in the order of the reference."""
        return (
            Operation(
                name="generate_lyrics",
                path="/suno/submit/lyrics",
                body=bodies.Lyrics,
                answer=self._lyrics,
                usual_s=8.0,
            ),
            Operation(
                name="generate_music",
                path="/suno/submit/music",
                body=bodies.Music,
                answer=self._music,
                usual_s=150.0,
            ),
            Operation(
                name="upload_clip",
                path="/suno/uploads/audio-url",
                body=bodies.Upload,
                answer=self._upload,
                usual_s=15.0,
            ),
            Operation(name="concat", path="/suno/submit/concat", body=bodies.Concat, answer=self._concat),
            Operation(name="create_persona", path="/suno/persona/create", body=bodies.Persona, answer=self._persona),
            Operation(name="query_batch", path="/suno/fetch", body=bodies.Batch, answer=self._batch, asks=True),
            Operation(name="add_style_tags", path="/suno/act/tags", body=bodies.Tags, answer=self._tags),
            Operation(name="vox", path="/suno/act/vox/{clip_id}", body=bodies.Vox, answer=self._vox),
            self._question("query_task", "/suno/fetch/{task_id}", self._fetch),
            self._question("mp4", "/suno/act/mp4/{clip_id}", self._mp4),
            self._question("timing", "/suno/act/timing/{clip_id}", self._timing),
            self._question("wav", "/suno/act/wav/{clip_id}", self._wav),
            self._question("midi", "/suno/act/midi/{clip_id}", self._midi),
            self._question("feed", "/suno/feed/{clip_ids}", self._feed),
        )

    def _question(self, name: str, path: str, answer: Answer) -> Operation:
        return Operation(name=name, path=path, method="GET", encoding=("none",), answer=answer)

    def invalid(self, message: str) -> web.Response:
        """Refuse a body in the relay's words."""
        return refusal("invalid_request", message)

    def busy(self) -> web.Response:
        """Refuse as upstream does when asked too often, through the relay."""
        return refusal("fail_to_fetch_task", "Too many requests", HTTPStatus.TOO_MANY_REQUESTS)

    async def _lyrics(self, call: Call) -> web.Response:
        if not call.body.prompt:
            return self.invalid("prompt_empty")
        hook = call.body.notify_hook or ""
        return self._accepted(await self._create(call, Facts(action="LYRICS", hook=hook)))

    async def _music(self, call: Call) -> web.Response:
        body: bodies.Music = call.body
        call.received.model_name_missing = "mv" not in call.sent
        fault = bodies.fault_of(body)
        if fault:
            return self.invalid(fault)
        if body.task_id:
            self._origin(body.task_id)
        task = await self._create(call, _music_facts(body))
        return json_answer(answers.raw_submission(task)) if body.stem_task == "two" else self._accepted(task)

    async def _upload(self, call: Call) -> web.Response:
        name = call.body.url.rsplit("/", 1)[-1]
        return self._accepted(await self._create(call, Facts(action="UPLOAD", titles=(name,))))

    async def _concat(self, call: Call) -> web.Response:
        self._owner(call.body.clip_id)
        metadata = {"type": "concat", "concat_history": [{"id": call.body.clip_id}]}
        facts = Facts(action="CONCAT", titles=("Winter Sea",), metadata=metadata)
        return self._accepted(await self._create(call, facts))

    async def _persona(self, call: Call) -> web.Response:
        body: bodies.Persona = call.body
        owner = self._finished(body.root_clip_id)
        if owner is not None and owner.facts.action == "UPLOAD":
            return self.invalid("an uploaded clip makes no persona")
        if body.root_clip_id not in body.clips:
            return self.invalid("clips must contain root_clip_id")
        clip = {"id": body.root_clip_id, "status": "complete", "audio_url": call.link("0.mp3")}
        told = {"id": id_of(self.stage.ids.next()), "name": body.name, "description": body.description}
        return json_answer({**told, "root_clip_id": body.root_clip_id, "clip": clip, "persona_clips": [{"clip": clip}]})

    async def _batch(self, call: Call) -> web.Response:
        asked = [self.stage.tasks.by_id(task_id) for task_id in call.body.ids]
        known = [task for task in asked if task is not None and _is_ours(task) and not task.plays("not_found")]
        return json_answer(envelope([record(self.look(task)) for task in known] or None))

    async def _fetch(self, call: Call) -> web.Response:
        task_id = call.request.match_info["task_id"]
        found = self.stage.tasks.by_id(task_id)
        if found is not None and not _is_ours(found):
            return self.unknown_task()
        return json_answer(envelope(record(self.look(await self.find_or_hang(call, task_id)))))

    async def _tags(self, call: Call) -> web.Response:
        tags = f"{call.body.original_tags}, wide reverb, slow drums"
        return json_answer({"upsampled_tags": tags, "request_id": id_of(self.stage.ids.next())})

    async def _vox(self, call: Call) -> web.Response:
        self._finished(call.request.match_info["clip_id"])
        if call.body.vocal_end_s <= call.body.vocal_start_s:
            return self.invalid("vocal_end_s must come after vocal_start_s")
        return json_answer({"id": id_of(self.stage.ids.next())})

    async def _timing(self, call: Call) -> web.Response:
        self._finished(call.request.match_info["clip_id"])
        told = {"aligned_words": answers.WORDS, "waveform_data": [0.1, 0.4], "hoot_cer": 0.03, "is_streamed": False}
        return self._told(told)

    async def _wav(self, call: Call) -> web.Response:
        return self._told({"wav_file_url": call.link("0.wav")} if self._converted(call) else {})

    async def _mp4(self, call: Call) -> web.Response:
        return self._told({"video_url": call.link("0.mp4") if self._converted(call) else ""})

    async def _midi(self, call: Call) -> web.Response:
        if not self._converted(call):
            return json_answer({"state": "running"})
        return json_answer({"state": "complete", "instruments": answers.INSTRUMENTS})

    async def _feed(self, call: Call) -> web.Response:
        asked = call.request.match_info["clip_ids"].split(",")
        owners = [owner for owner in map(self._owner, asked) if owner is not None]
        clips = {clip["id"]: clip for owner in owners for clip in clips_of(self.look(owner))}
        return json_answer([clips[clip_id] for clip_id in asked if clip_id in clips])

    def _told(self, told: Json) -> web.Response:
        return json_answer(told if self.stage.options.envelope == "flat" else envelope(told))

    def _accepted(self, task: Task) -> web.Response:
        return json_answer(envelope(task.public_id))

    async def _create(self, call: Call, facts: Facts) -> Task:
        task = await call.create(callback_url=facts.hook, render=answers.posted, facts=facts, make_id=id_of)
        for clip_id in clip_ids(task):
            self.stage.sessions.put(f"clip:{clip_id}", task.public_id)
        return task

    def _origin(self, task_id: str) -> None:
        if self.stage.tasks.by_id(task_id) is None and self.stage.options.strict_sessions:
            raise Refused(refusal("task_not_exist", "task_origin_not_exist"))

    def _owner(self, clip_id: str) -> Task | None:
        owner = self.stage.tasks.by_id(self.stage.sessions.get(f"clip:{clip_id}") or "")
        if owner is None and self.stage.options.strict_sessions:
            raise Refused(self.invalid("clip not found"))
        return owner

    def _finished(self, clip_id: str) -> Task | None:
        owner = self._owner(clip_id)
        if owner is not None and owner.phase(self.stage.clock.now()) != "succeeded":
            raise Refused(self.invalid("clip is not complete"))
        return owner

    def _converted(self, call: Call) -> bool:
        self._finished(call.request.match_info["clip_id"])
        now, options, path = self.stage.clock.now(), self.stage.options, call.request.path
        asked_at = self.stage.sessions.get(path)
        if asked_at is None:
            asked_at = now
            self.stage.sessions.put(path, now)
        lasts_s = CONVERTED_S / options.speed if options.duration_s is None else options.duration_s
        return bool(now >= asked_at + lasts_s)


def _music_facts(body: bodies.Music) -> Facts:
    title = body.title or "Winter Sea"
    metadata = {"tags": body.tags, "prompt": body.prompt, "gpt_description_prompt": body.gpt_description_prompt}
    hook = body.notify_hook or ""
    if body.task != "gen_stem":
        return Facts(action="MUSIC", titles=(title, title), model=body.mv, metadata=metadata, hook=hook)
    stems = ("Vocals", "Instrumental") if body.stem_task == "two" else answers.STEM_TITLES
    names = ("task", "stem_type_id", "stem_type_group_name", "stem_task")
    return Facts(
        action="MUSIC",
        titles=tuple(f"{title} - {stem}" for stem in stems),
        model="chirp-stem",
        metadata={"stem_from_id": body.continue_clip_id, **{name: getattr(body, name) for name in names}},
        hook=hook,
    )


def _is_ours(task: Task) -> bool:
    """Tell whether a task is one of this family's; of another's it knows nothing."""
    return isinstance(task.facts, Facts)
