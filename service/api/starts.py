"""A start, from the request to the stored run: everything is checked before anything is kept or sent."""

import asyncio
import base64
import hashlib
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import msgspec
from litestar import Request
from litestar.datastructures import State
from msgspec import Struct

from service.api.auth import Caller
from service.api.bodies import is_form, read_input
from service.api.deps import Services
from service.api.parameters import START, ParameterCheck
from service.api.receiver_urls import url_faults
from service.artifacts.intake import Intake
from service.definitions.catalog import CompiledNode
from service.definitions.inputs import media_values, replaced_media
from service.definitions.media import data_part, shortened
from service.definitions.schema import Field
from service.delivery.profiles import STANDARD, guess, profile_of
from service.delivery.receivers import target_of
from service.errors import AllowanceSpent, Conflict, Fault, InvalidInput
from service.ids import new_id, new_token
from service.lifecycle.run import END_EVENTS, EventType, Mode, Run, Webhook
from service.lifecycle.transitions import queued
from service.sealing import Sealer
from service.store.starts import Idempotency, Started

AnyRequest = Request[Any, Any, State]
KEY_PATTERN = r'^(?:"[ !#-~]{1,255}"|[!#-~](?:[ !#-~]{0,253}[!#-~])?)$'
_parameters = ParameterCheck(START, headers=True)
_DAY_S = 86400
_MOST_INLINE_CHARS = 64_000  # longer ones go to the vault, so that nothing large is written to the database


class Start(Struct, frozen=True, kw_only=True):
    """A checked start.

    Attributes:
        node: What to run.
        options: How to run it.
        values: The checked input.
        key: Idempotency key, if the caller sent one.
        fingerprint: Hash of the request, to tell a repetition from a mix-up.
        essence: Hash of what is run, whoever is told and however long anybody waits; for `dedupe`.
    """

    node: CompiledNode
    options: dict[str, Any]
    values: dict[str, Any]
    key: str | None
    fingerprint: str
    essence: str | None = None

    @property
    def mode(self) -> str:
        """How the run is carried out: `live`, `mock` or `preview`."""
        return str(self.options.get("mode", "live"))


async def read_start(
    request: AnyRequest, node: CompiledNode, caller: Caller, services: Services, intake: Intake
) -> Start:
    """Check a start request as a whole.

    Args:
        request: The request.
        node: What to run.
        caller: Who starts it.
        services: The services.
        intake: Takes in the files that come with it.

    Raises:
        Conflict: The mode is not possible here; told before any fault of the input.
        InvalidInput: With every fault of parameters, headers and body at once.
        NotFound: An upload or artifact that the input names is not there.
    """
    faults: list[Fault] = []
    options = collected(faults, lambda: _parameters.read(request))
    mode = str(options.get("mode", "live"))
    if node.node.kind != "local":
        refuse_impossible(mode, services)
    raw = await read_input(request, intake)
    values = collected(faults, lambda: node.inputs.check(raw, is_json=not is_form(request)))
    if url := options.get("webhook_url"):
        faults += url_faults(url, services.guard, "query:webhook_url")
    key = idempotency_key(request.headers, faults)
    faults += [] if faults else _misplaced(raw, _media(node, values), intake)
    if faults:
        raise InvalidInput(tuple(faults))
    await services.materials_of(mode).check(node, values, caller.workspace)
    asked = {name: value for name, value in options.items() if name != "dedupe"}
    fingerprint = fingerprint_of(node.id, _hashed(node, values, intake.hashes), {**asked, "wait": None})
    essence = await _essence(node, values, mode, caller, services) if "dedupe" in options else None
    if mode != "preview":
        values = await lightened(node, values, intake)
    return Start(node=node, options=options, values=values, key=key, fingerprint=fingerprint, essence=essence)


def _media(node: CompiledNode, values: Mapping[str, Any]) -> list[tuple[str, str, Field]]:
    return [found for name, value in values.items() for found in media_values(value, node.fields[name], f"/{name}")]


def _misplaced(raw: Mapping[str, Any], media: list[tuple[str, str, Field]], intake: Intake) -> list[Fault]:
    """Find files that were sent for fields that take none."""
    taken, placed = set(intake.hashes), {text for _, text, _ in media}
    return [
        Fault(pointer=f"/{name}", code="type", message=f"{name} takes no file; send its value itself")
        for name, value in raw.items()
        if not placed.issuperset(taken.intersection(each for each in _listed(value) if isinstance(each, str)))
    ]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _hashed(node: CompiledNode, values: Mapping[str, Any], hashes: Mapping[str, str]) -> dict[str, Any]:
    """Return an input in which equal files are equal, whatever ids they were given."""
    replaced = {
        pointer: f"sha256:{hashes[text]}"
        for pointer, text, _ in (_media(node, values) if hashes else ())
        if text in hashes
    }
    return replaced_media(values, replaced)


async def _essence(node: CompiledNode, values: Mapping[str, Any], mode: str, caller: Caller, services: Services) -> str:
    """Return the hash of what is run; a workflow that runs again uploads its files again, under new ids."""
    uploads = {text for _, text, _ in _media(node, values) if text.startswith("file_")}
    records = [await services.files.get(caller.workspace, each) for each in uploads]
    hashes = {record.id: record.sha256 for record in records if record is not None}
    return fingerprint_of(node.id, _hashed(node, values, hashes), {"mode": mode})


async def lightened(node: CompiledNode, values: Mapping[str, Any], intake: Intake) -> dict[str, Any]:
    """Return an input whose long Base64 texts are in the vault."""
    made: dict[str, Any] = {}
    for pointer, text, _ in _media(node, values):
        data = data_part(text)
        if data is not None and len(data) > _MOST_INLINE_CHARS:
            made[pointer] = await intake.take(await asyncio.to_thread(base64.b64decode, data))
    return replaced_media(values, made)


def collected(faults: list[Fault], check: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a check returns; its faults are added to others."""
    try:
        return dict(check())
    except InvalidInput as exc:
        faults += exc.faults
        return {}


def refuse_impossible(mode: str, services: Services) -> None:
    """Refuse a mode that this process cannot carry out.

    Raises:
        Conflict: With the words that help.
    """
    if mode == "live" and not services.can_run_live:
        raise Conflict(
            "There is no upstream key: set COMETAPI_KEY and restart, or add `mode=mock` to try the node for free "
            "against the simulated upstream, or `mode=preview` to see the request that would be sent."
        )
    if mode == "mock" and not services.can_run_mock:
        raise Conflict("This process has no simulated upstream; start it with `halley serve` to use `mode=mock`.")


def idempotency_key(headers: Mapping[str, str], faults: list[Fault]) -> str | None:
    """Return the caller's idempotency key, quoted or bare."""
    raw = headers.get("idempotency-key")
    if raw is None:
        return None
    if not re.fullmatch(KEY_PATTERN, key := raw.strip()):
        message = "must be 1 to 255 visible ASCII characters, bare or in quotes"
        faults.append(Fault(pointer="header:Idempotency-Key", code="format", message=message))
    return key.strip('"')


def fingerprint_of(node_id: str, values: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """Return the hash of a request, the same for the same request."""
    canonical = msgspec.json.encode([node_id, values, options], order="sorted")
    return hashlib.sha256(canonical).hexdigest()


async def start_run(
    start: Start,
    caller: Caller,
    services: Services,
    base_url: str,
    *,
    retry_of: str | None = None,
    run_id: str | None = None,
) -> Started:
    """Store a run; a sweep submits it at once.

    Args:
        start: The checked start.
        caller: Whose run it is.
        services: The services.
        base_url: Where this caller reaches Halley.
        retry_of: The run that it repeats.
        run_id: Its id, where somebody had to know it before.

    Raises:
        AllowanceSpent: The API key may start no more runs today.
        Conflict: The group takes no more runs.
        InvalidInput: The idempotency key belongs to another request.
    """
    key = _idempotency(start, caller)
    try:
        start = await _joining(start, caller, services, is_retry=retry_of is not None)
    except Conflict:
        if (earlier := await _earlier(key, services)) is None:
            raise
        return taken(earlier, caller, services)
    run = new_run(run_id or new_id("run", services.clock.now()), start, caller, services, base_url, retry_of)
    return taken(await services.store.start(queued(run), start.values, key, caller.allowance), caller, services)


def taken(started: Started, caller: Caller, services: Services) -> Started:
    """Return a start that the store has taken.

    Raises:
        AllowanceSpent: The API key may start no more runs today.
        InvalidInput: The idempotency key belongs to another request.
    """
    if started.over_allowance:
        raise _allowance_spent(caller, services.clock.now())
    if started.key_reused:
        raise InvalidInput((KEY_REUSED,))
    return started


async def _earlier(key: Idempotency | None, services: Services) -> Started | None:
    """Return what an idempotency key has started before."""
    held = key and await services.store.run_of_key(key.scope, key.key, services.clock.now())
    if not key or not held:
        return None
    is_same = held[0] == key.fingerprint
    return Started(run=held[1], replayed=is_same, key_reused=not is_same)


async def _joining(start: Start, caller: Caller, services: Services, *, is_retry: bool) -> Start:
    """Return a start that names its group as all runs of the group do; a label that no group has stays what it is.

    A retry belongs to the group of the run that it repeats as long as that is open.

    Raises:
        Conflict: The group takes no more runs.
    """
    asked = start.options.get("group")
    group = await services.store.group(caller.workspace, asked) if asked else None
    if group is None:
        return start
    if group.state == "open" and not is_retry:
        states = await services.store.group_states(caller.workspace, [group.key])
        if group.is_full(count := sum(states[group.key].values())):
            raise Conflict(f"The group {asked!r} has all its {count} runs. Make another group, or leave `group` out.")
    if group.state == "completed" and not is_retry:
        raise Conflict(f"The group {asked!r} has completed and takes no more runs. Make another, or leave `group` out.")
    named = group.key if group.state == "open" else None
    return msgspec.structs.replace(start, options={**start.options, "group": named})


def _idempotency(start: Start, caller: Caller) -> Idempotency | None:
    """Return what makes this start the same as another: the caller's key, or else what is run."""
    if start.key is not None:
        return Idempotency(scope=caller.key_id, key=start.key, fingerprint=start.fingerprint)
    if start.essence is None:
        return None
    # A scope of its own, which no key of a caller can be in: callers choose keys, never scopes.
    scope, kept_s = f"dedupe:{caller.key_id}", float(start.options["dedupe"])
    return Idempotency(scope=scope, key=start.essence, fingerprint=start.essence, kept_s=kept_s)


def _allowance_spent(caller: Caller, now: float) -> AllowanceSpent:
    left_s = math.ceil(_DAY_S - now % _DAY_S)
    return AllowanceSpent(
        f"This API key may start {caller.runs_per_day} runs a day and has started them all; nothing was started. "
        f"The next day begins at 00:00 UTC, in {left_s} s.",
        left_s,
    )


KEY_REUSED = Fault(
    pointer="header:Idempotency-Key",
    code="key_reused",
    message="this key was used for another request in the last 7 days; use a new key for a new request",
)


def new_run(
    run_id: str, start: Start, caller: Caller, services: Services, base_url: str, retry_of: str | None = None
) -> Run:
    """Return the run of a checked start."""
    now, node, options = services.clock.now(), start.node, start.options
    provider = node.provider.provider
    mode: Mode = "mock" if start.mode == "mock" else "live"
    webhook = webhook_of(options, caller.workspace, services.sealer, END_EVENTS)
    return Run(
        id=run_id,
        workspace=caller.workspace,
        node=node.id,
        lane=f"mock:{provider}" if mode == "mock" else provider,
        state="queued",
        mode=mode,
        input=public_input(node, start.values),
        status_url=f"{base_url}/v1/runs/{run_id}",
        callback_token=new_token(),
        external_id=str(uuid4()),
        created_at=now,
        deadline_at=now + float(options.get("deadline", node.pace.deadline_s)),
        due_at=now,
        upstream_path=node.plan.path(start.values),
        warnings=(*node.warnings(start.values), *guess_warnings(webhook)),
        reference=options.get("reference"),
        metadata=options.get("metadata", {}),
        group=options.get("group"),
        webhook=webhook,
        retry_of=retry_of,
    )


def webhook_of(
    options: Mapping[str, Any], workspace: str, sealer: Sealer, events: Sequence[EventType]
) -> Webhook | None:
    """Return where events go. The URL is sealed from here on: whoever knows it can act as Halley."""
    if "webhook_url" not in options:
        return None
    return Webhook(
        url=sealer.seal(options["webhook_url"]),
        target=target_of(workspace, options["webhook_url"]),
        events=tuple(options.get("webhook_events") or events),
        profile=options.get("webhook_profile") or guess(options["webhook_url"]).name,
        guessed="webhook_profile" not in options,
        method=options.get("webhook_method", "POST"),
    )


def guess_warnings(webhook: Webhook | None) -> list[str]:
    """Say what was guessed; that nothing was recognised needs no words."""
    if webhook is None or not webhook.guessed or webhook.profile == STANDARD.name:
        return []
    meant_for = profile_of(webhook.profile).meant_for
    return [f"The webhook URL looks like {meant_for}: profile {webhook.profile}; webhook_profile=standard undoes that."]


def started_headers(started: Started) -> dict[str, str]:
    """Return what the answer to a start says in headers besides where the run is."""
    return told_headers(started.run.webhook, is_replayed=started.replayed)


def told_headers(webhook: Webhook | None, *, is_replayed: bool) -> dict[str, str]:
    """Return what an answer says of a repeated request and of a webhook."""
    headers = {"Idempotency-Replayed": "true"} if is_replayed else {}
    if webhook is not None:
        headers["Halley-Webhook-Profile"] = webhook.profile + ("; guessed" if webhook.guessed else "")
    return headers


def public_input(node: CompiledNode, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an input for people: data of files is told by its size."""
    found = {
        text: shortened(text)
        for name, value in values.items()
        for _, text, _ in media_values(value, node.fields[name], "")
    }
    return {name: _replaced(value, found) for name, value in values.items()}


def _replaced(value: Any, words: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return words.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, words) for item in value]
    if isinstance(value, dict):
        return {name: _replaced(item, words) for name, item in value.items()}
    return value
