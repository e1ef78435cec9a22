"""The start of a group, from the request to the stored runs: everything is checked before anything is kept.

Runs that cannot be started are told one by one and keep no other from starting, unless the caller wants all or none.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from service.api.auth import Caller
from service.api.bodies import is_form, read_input
from service.api.deps import Services
from service.api.parameters import START, ParameterCheck, metadata_faults
from service.api.problems import Problem, caller_problem
from service.api.receiver_urls import url_faults
from service.api.starts import (
    KEY_REUSED,
    AnyRequest,
    Start,
    collected,
    fingerprint_of,
    idempotency_key,
    lightened,
    new_run,
    refuse_impossible,
    taken,
    webhook_of,
)
from service.artifacts.intake import Intake
from service.definitions.inputs import InputCheck
from service.definitions.schema import Field, Rule
from service.errors import CallerError, Conflict, Fault, InvalidInput
from service.ids import is_id, new_id
from service.lifecycle.group import MOST_RUNS, Group
from service.lifecycle.transitions import queued
from service.store.groups import Member
from service.store.starts import Idempotency

MOST_AT_ONCE = 100
NAME_PATTERN = r"^[^/\x00-\x1f\x7f]+$"  # it stands in paths
_GRACE_S = 60.0  # its runs come to their own ends first
_LONGEST_S = 7 * 86400.0

# What may also stand in the query, or in a header such as `Halley-Webhook-Url`.
OPTIONS = {
    "mode": msgspec.structs.replace(
        START["mode"], enum=["live", "mock"], about="`mock` runs against the simulator, free."
    ),
    "reference": msgspec.structs.replace(START["reference"], about="Your own id of the group."),
    "metadata": msgspec.structs.replace(
        START["metadata"], about="A JSON object of at most 4 kB that comes back with the group."
    ),
    "deadline": Field(
        type="number",
        minimum=1,
        maximum=_LONGEST_S,
        unit="s",
        about="Complete after so long with what there is; default: when all its runs are past theirs, or 7 days.",
    ),
    "webhook_url": msgspec.structs.replace(
        START["webhook_url"], about="Where the group's one event is posted, signed. Used byte for byte."
    ),
    "webhook_profile": START["webhook_profile"],
    "webhook_method": START["webhook_method"],
}
GROUP = {
    "runs": Field(
        type="array",
        items=Field(type="object"),
        min_items=1,
        max_items=MOST_AT_ONCE,
        about="The runs to start with the group, 100 at most.",
    ),
    "atomic": Field(type="boolean", assumed=False, about="Start all of them or none."),
    "name": Field(
        type="string",
        min_length=1,
        max_length=100,
        pattern=NAME_PATTERN,
        about="For runs that come by themselves: they give it as `group`.",
    ),
    "size": Field(
        type="integer",
        minimum=1,
        maximum=MOST_RUNS,
        about="How many runs come by themselves; without it the group is open until it is closed.",
    ),
    "complete_on": Field(
        type="string",
        pattern=r"^(?:all|any|[1-9][0-9]{0,3})$",
        assumed="all",
        about="When it completes: when `all` runs have ended, when `any` has succeeded, or a number of them. If too "
        "few succeed, when all have ended.",
    ),
    "cancel_rest": Field(
        type="boolean", assumed=False, about="Cancel the runs that are still open when the group completes."
    ),
    **OPTIONS,
}
RULES = (
    Rule(
        at_least_one=["runs", "name", "size"],
        because="give `runs` to start, or a `name` or a `size` for runs that come by themselves",
    ),
    Rule(
        at_most_one=["runs", ["name", "size"]],
        because="`name` and `size` are for runs that come by themselves; with `runs`, use `reference` for your own id",
    ),
)
ITEM = {
    "node": Field(type="string", required=True, max_length=200, about="What to run.", example="text.chat"),
    "input": Field(
        type="object", about="The node's input.", example={"model": "gpt-5.4", "prompt": "Name three comets."}
    ),
    "reference": START["reference"],
    "metadata": START["metadata"],
    "deadline": START["deadline"],
}
_check = InputCheck(GROUP, RULES, {})
_item_check = InputCheck(ITEM, (), {})
_parameters = ParameterCheck(OPTIONS, headers=True)


class Asked(Struct, frozen=True, kw_only=True):
    """A checked request for a group; its runs are checked one by one.

    Attributes:
        words: What was given.
        key: Idempotency key, if the caller sent one.
        fingerprint: Hash of the request, to tell a repetition from a mix-up.
    """

    words: dict[str, Any]
    key: str | None
    fingerprint: str

    @property
    def mode(self) -> str:
        """How its runs are carried out."""
        return str(self.words.get("mode", "live"))

    @property
    def needed(self) -> int | None:
        """How many runs must succeed; None for: all must have ended."""
        complete_on = self.words.get("complete_on", "all")
        return None if complete_on == "all" else 1 if complete_on == "any" else int(complete_on)

    def idempotency(self, caller: Caller) -> Idempotency | None:
        """Return what makes a repeated request the same."""
        if self.key is None:
            return None
        return Idempotency(scope=caller.key_id, key=self.key, fingerprint=self.fingerprint)

    def identity(self, caller: Caller) -> str | None:
        """Return the name of the idempotency key, for a group without a run that could hold it."""
        return None if self.key is None else hashlib.sha256(f"{caller.key_id} {self.key}".encode()).hexdigest()


class Made(Struct, frozen=True, kw_only=True):
    """A group that a request led to.

    Attributes:
        group: The group.
        is_new: It was not there before.
        is_replayed: The same request was sent before, with the same idempotency key.
    """

    group: Group
    is_new: bool = False
    is_replayed: bool = False


async def read_group(request: AnyRequest, services: Services) -> Asked:
    """Check a request for a group, all but its runs.

    Raises:
        InvalidInput: With every fault of parameters, headers and body at once.
    """
    faults: list[Fault] = []
    options = collected(faults, lambda: _parameters.read(request))
    raw = await read_input(request)
    if type(raw.get("complete_on")) is int:
        raw["complete_on"] = str(raw["complete_on"])
    words = {**options, **collected(faults, lambda: _check.check(raw, is_json=not is_form(request)))}
    faults += metadata_faults(words, "/metadata")
    if "webhook_url" in words:
        faults += url_faults(words["webhook_url"], services.guard, "/webhook_url")
    if is_id("grp", str(words.get("name"))):
        faults.append(Fault(pointer="/name", code="reserved", message="a name must not look like the id of a group"))
    key = idempotency_key(request.headers, faults)
    if faults:
        raise InvalidInput(tuple(faults))
    return Asked(words=words, key=key, fingerprint=fingerprint_of("groups", words, {}))


async def make_group(asked: Asked, caller: Caller, services: Services, base_url: str) -> Made:
    """Make a group, and start its runs if it has some; or return the one that is there.

    Raises:
        AllowanceSpent: The API key may not start so many runs today; nothing was started.
        Conflict: The mode is not possible here, or a label has more runs than a group may have.
        InvalidInput: No run can be started, or not all where all must; or the key belongs to another request.
    """
    earlier = await _earlier(asked, caller, services)
    if earlier is not None:
        return earlier
    if "runs" not in asked.words:
        return await _announced(asked, caller, services, base_url)
    async with Intake(services.files, caller.workspace) as intake:
        checked = await _checked(asked, caller, services, intake)
        problems = [each for each in checked if isinstance(each, Problem)]
        if problems and (len(problems) == len(checked) or asked.words.get("atomic")):
            raise InvalidInput(tuple(fault for problem in problems for fault in problem.errors or ()))
        made = await _started(asked, checked, caller, services, base_url)
        if made.is_new:
            intake.settle()
    return made


async def _earlier(asked: Asked, caller: Caller, services: Services) -> Made | None:
    """Return what the same request has led to before."""
    key, store = asked.idempotency(caller), services.store
    if key is None:
        return None
    held = await store.run_of_key(key.scope, key.key, services.clock.now())
    own = await store.group_of_identity(caller.workspace, str(asked.identity(caller)))
    if (held and held[0] != key.fingerprint) or (own and own.fingerprint != key.fingerprint):
        raise InvalidInput((KEY_REUSED,))
    group = own or (held and await store.group(caller.workspace, str(held[1].group)))
    return Made(group=group, is_replayed=True) if group else None


async def _announced(asked: Asked, caller: Caller, services: Services, base_url: str) -> Made:
    """Make a group whose runs come by themselves; those that have come already belong to it."""
    now, words = services.clock.now(), asked.words
    group = msgspec.structs.replace(
        _new_group(asked, caller, services, base_url),
        name=words.get("name"),
        size=words.get("size"),
        deadline_at=now + float(words.get("deadline", _LONGEST_S)),
        identity=asked.identity(caller),
        fingerprint=asked.fingerprint,
        due_at=now,
    )
    states = (await services.store.group_states(caller.workspace, [group.key]))[group.key]
    if sum(states.values()) > MOST_RUNS:
        raise Conflict(
            f"There are more than {MOST_RUNS} runs of {group.key!r}, too many for a group; use another name."
        )
    kept = await services.store.add_group(group)
    is_own = kept.identity is not None and kept.identity == group.identity
    if kept.id != group.id and is_own and kept.fingerprint != group.fingerprint:
        raise InvalidInput((KEY_REUSED,))
    services.switchboard.ring("groups")
    return Made(group=kept, is_new=kept.id == group.id, is_replayed=kept.id != group.id and is_own)


async def _checked(asked: Asked, caller: Caller, services: Services, intake: Intake) -> list[Start | Problem]:
    """Check every run; returns the start of each, or what is wrong with it."""
    checked: list[Start | Problem] = []
    for index, item in enumerate(asked.words["runs"]):
        pointer = f"/runs/{index}"
        try:
            checked.append(await _checked_item(asked, item, pointer, caller, services=services, intake=intake))
        except Conflict:
            raise  # the mode is possible here for none of them
        except CallerError as exc:
            checked.append(_problem(exc, f"{pointer}/node"))
    return checked


async def _checked_item(
    asked: Asked, item: dict[str, Any], pointer: str, caller: Caller, *, services: Services, intake: Intake
) -> Start:
    words = _within(pointer, lambda: _item_check.check(item, is_json=True))
    if faults := metadata_faults(words, f"{pointer}/metadata"):
        raise InvalidInput(tuple(faults))
    node = services.catalog.get(words["node"])
    caller.require_node(node.id)
    if node.node.kind != "local":
        refuse_impossible(asked.mode, services)
    pointer = f"{pointer}/input"
    values = _within(pointer, lambda: node.inputs.check(words.pop("input", {}), is_json=True))
    try:
        await services.materials_of(asked.mode).check(node, values, caller.workspace)
    except CallerError as exc:
        exc.faults = _moved(exc.faults, pointer)
        raise
    options = {"mode": asked.mode, **{name: value for name, value in words.items() if name != "node"}}
    return Start(
        node=node,
        options=options,
        values=await lightened(node, values, intake),
        key=None,
        fingerprint=asked.fingerprint,
    )


def _within(pointer: str, check: Any) -> dict[str, Any]:
    """Return what a check returns; its faults point into the whole request."""
    try:
        return dict(check())
    except InvalidInput as exc:
        raise InvalidInput(_moved(exc.faults, pointer)) from None


def _moved(faults: Sequence[Fault], pointer: str) -> tuple[Fault, ...]:
    return tuple(msgspec.structs.replace(fault, pointer=pointer + fault.pointer) for fault in faults)


def _problem(exc: CallerError, pointer: str) -> Problem:
    """Describe why a run cannot be started; what names no input is the matter of its node."""
    faults = exc.faults or (Fault(pointer=pointer, code=exc.code, message=exc.detail),)
    return msgspec.structs.replace(caller_problem(exc), errors=faults)


async def _started(
    asked: Asked, checked: Sequence[Start | Problem], caller: Caller, services: Services, base_url: str
) -> Made:
    group = _new_group(asked, caller, services, base_url)
    starts = [each for each in checked if isinstance(each, Start)]
    members = _members(group, starts, caller, services)
    ids = iter([member.change.run.id for member in members])
    longest = max(member.change.run.deadline_at for member in members) + _GRACE_S
    deadline_at = group.created_at + float(asked.words["deadline"]) if "deadline" in asked.words else longest
    group = msgspec.structs.replace(
        group,
        size=len(members),
        outcomes=tuple(next(ids) if isinstance(each, Start) else msgspec.to_builtins(each) for each in checked),
        deadline_at=deadline_at,
        due_at=deadline_at,
    )
    store, key = services.store, asked.idempotency(caller)
    started = taken(await store.start_group(group, members, key, caller.allowance), caller, services)
    if not started.replayed:
        return Made(group=group, is_new=True)
    earlier = await store.group(caller.workspace, str(started.run.group))
    return Made(group=earlier or group, is_replayed=True)


def _new_group(asked: Asked, caller: Caller, services: Services, base_url: str) -> Group:
    now, words = services.clock.now(), asked.words
    return Group(
        id=new_id("grp", now),
        workspace=caller.workspace,
        needed=asked.needed,
        cancel_rest=words.get("cancel_rest", False),
        reference=words.get("reference"),
        metadata=words.get("metadata", {}),
        webhook=webhook_of(words, caller.workspace, services.sealer, ("group.completed",)),
        base_url=base_url,
        created_at=now,
        deadline_at=now,
    )


def _members(group: Group, starts: Sequence[Start], caller: Caller, services: Services) -> list[Member]:
    """Return the runs of a group, whose ids sort in the order in which they were asked for."""
    members = []
    ids = sorted(new_id("run", group.created_at) for _ in starts)
    for run_id, start in zip(ids, starts, strict=True):
        own = msgspec.structs.replace(start, options={**start.options, "group": group.key})
        run = new_run(run_id, own, caller, services, group.base_url)
        members.append(Member(queued(run), own.values))
    return members
