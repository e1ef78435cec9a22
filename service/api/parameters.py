"""Query parameters and their header twins, described with the same words as node inputs and checked alike."""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from litestar import Request
from litestar.datastructures import State

from service.definitions.inputs import InputCheck
from service.definitions.schema import Field
from service.delivery.profiles import PROFILES
from service.errors import Fault, InvalidInput
from service.ids import ID_PATTERN
from service.lifecycle.run import EventType, RunEventType, WebhookMethod
from service.lifecycle.states import FINAL, OPEN

WEBHOOK_URL_PATTERN = r"^https?://[A-Za-z0-9._~%\[\]:-]+(?:[/?#][!-~]*)?$"
_EVENT_TYPES = list(get_args(EventType))
_RUN_EVENT_TYPES = list(get_args(RunEventType))

START = {
    "wait": Field(
        type="number",
        minimum=0,
        unit="s",
        about="Wait so long for the run's end, 25 at most; also as `Prefer: wait=N`.",
    ),
    "webhook_url": Field(
        type="string",
        max_length=4096,
        pattern=WEBHOOK_URL_PATTERN,
        about="Where the run's events are posted, signed. Used byte for byte; in a header it needs no encoding.",
    ),
    "webhook_events": Field(
        type="array",
        items=Field(type="string", enum=_RUN_EVENT_TYPES),
        about="Which events to post; default: those that end a run.",
    ),
    "webhook_profile": Field(
        type="string",
        enum=list(PROFILES),
        about="How the receiver's answers are understood and when it is tried again; default: guessed from the URL.",
    ),
    "webhook_method": Field(
        type="string",
        enum=list(get_args(WebhookMethod)),
        assumed="POST",
        about="`GET` for an n8n node left on GET: nothing is sent but headers, `Halley-Run` among them.",
    ),
    "reference": Field(type="string", min_length=1, max_length=200, about="Your own id of the run."),
    "metadata": Field(type="object", about="A JSON object of at most 4 kB that comes back with the run."),
    "dedupe": Field(
        type="number",
        minimum=1,
        maximum=604800,
        unit="s",
        about="An equal start within so many seconds is answered with the first run; for tools that cannot set "
        "`Idempotency-Key`. Equal are node, input and `mode`.",
    ),
    "deadline": Field(type="number", minimum=1, maximum=604800, unit="s", about="Give the run up after so long."),
    "group": Field(
        type="string",
        min_length=1,
        max_length=100,
        about="Runs that belong together: a word of yours, or the name or id of a group that completes with them.",
    ),
    "mode": Field(
        type="string",
        enum=["live", "preview", "mock"],
        about="`preview` shows the upstream request and sends nothing; `mock` runs against the simulator, free.",
    ),
}
LIST = {
    "state": Field(type="string", enum=sorted(OPEN | FINAL), about="Only runs in this state."),
    "node": Field(type="string", max_length=200, about="Only runs of this node."),
    "reference": Field(type="string", max_length=200, about="Only runs with this reference."),
    "group": Field(type="string", max_length=100, about="Only runs of this group."),
    "cursor": Field(type="string", pattern="^run_[0-9a-z]{26}$", about="Taken from `next`."),
    "limit": Field(type="integer", minimum=1, maximum=200, assumed=50, about="Runs on a page."),
}
_EVENT_ID = f"^evt{ID_PATTERN}$"
_EVENT_FILTER = {
    "type": Field(
        type="array",
        items=Field(type="string", enum=_EVENT_TYPES),
        about="Only events of these types; default: all but `run.progressed`, which exists only where a run's "
        "`webhook_events` ask for it.",
    ),
    "node": Field(
        type="string",
        max_length=200,
        pattern=r"^[a-z0-9_.*-]+$",
        about="Only events of runs of nodes that fit, such as `text.*`.",
    ),
    "reference": Field(type="string", max_length=200, about="Only events of runs with this reference."),
    "run": Field(type="string", pattern="^run_[0-9a-z]{26}$", about="Only events of this run."),
}
EVENTS = {
    **_EVENT_FILTER,
    "after": Field(
        type="string",
        pattern=_EVENT_ID,
        about="Only events that came after this one, oldest first. If it is not there any more: those made after it.",
    ),
    "cursor": Field(type="string", pattern=f"^[0-9]{{1,18}}-evt{ID_PATTERN}$", about="Taken from `next`."),
    "limit": Field(type="integer", minimum=1, maximum=200, assumed=50, about="Events on a page."),
}
EVENT_STREAM_OPTIONS = {
    **_EVENT_FILTER,
    "last_event_id": Field(
        type="string",
        pattern=_EVENT_ID,
        about="Begin after this event; for who cannot set the header `Last-Event-ID`.",
    ),
}
ENDPOINTS = {
    "url": Field(type="string", max_length=4096, about="Only endpoints of exactly this URL."),
    "cursor": Field(type="string", pattern=f"^ep{ID_PATTERN}$", about="Taken from `next`."),
    "limit": Field(type="integer", minimum=1, maximum=200, assumed=50, about="Endpoints on a page."),
}
DELIVERIES = {
    "endpoint": Field(type="string", max_length=64, about="Only deliveries to this endpoint."),
    "run": Field(type="string", max_length=64, about="Only deliveries of events of this run or group."),
    "event": Field(type="string", pattern=_EVENT_ID, about="Only deliveries of this event."),
    "state": Field(type="string", enum=["pending", "delivered", "failed"], about="Only deliveries in this state."),
    "cursor": Field(type="string", pattern=f"^dlv{ID_PATTERN}$", about="Taken from `next`."),
    "limit": Field(type="integer", minimum=1, maximum=200, assumed=50, about="Deliveries on a page."),
}
GROUPS = {
    "state": Field(type="string", enum=["open", "completed"], about="Only groups in this state."),
    "cursor": Field(type="string", pattern=f"^grp{ID_PATTERN}$", about="Taken from `next`."),
    "limit": Field(type="integer", minimum=1, maximum=200, assumed=50, about="Groups on a page."),
}
READ = {"wait": START["wait"]}
SIGNING_KEYS = {
    "workspace": Field(
        type="string", max_length=200, assumed="default", about="Whose keys; that of the API key that started the run."
    )
}

_METADATA_BYTES = 4000


class ParameterCheck:
    """Checks the parameters of one route.

    Args:
        fields: The parameters.
        headers: Whether each may also be sent as a header, `Halley-Webhook-Url` for `webhook_url`.
    """

    def __init__(self, fields: Mapping[str, Field], *, headers: bool = False) -> None:
        self._check = InputCheck(fields, (), {})
        self._lists = {name for name, field in fields.items() if field.type == "array"}
        self._headers = {f"halley-{name.replace('_', '-')}".encode(): name for name in fields} if headers else {}

    def read(self, request: Request[Any, Any, State]) -> dict[str, Any]:
        """Return the parameters that were sent, typed; query before header.

        Raises:
            InvalidInput: With a fault for each wrong one, pointed to as `query:wait`.
        """
        try:
            values = self._check.check(self._sent(request))
        except InvalidInput as exc:
            raise InvalidInput(tuple(_pointed(fault) for fault in exc.faults)) from None
        if faults := metadata_faults(values, "query:metadata"):
            raise InvalidInput(tuple(faults))
        return values

    def _sent(self, request: Request[Any, Any, State]) -> dict[str, Any]:
        """Return what was sent, by name: a list for a list, a text for anything else."""
        found: dict[str, list[str]] = {}
        for sent, value in request.scope["headers"]:
            if (known := self._headers.get(sent)) is not None:
                found.setdefault(known, [value.decode("latin-1")])
        query: dict[str, list[str]] = {}
        for name, value in request.query_params.multi_items():
            if value != "":
                query.setdefault(name, []).append(value)
        found |= query
        for name in self._lists & found.keys():
            found[name] = [part.strip() for each in found[name] for part in each.split(",")]
        single = {name: values for name, values in found.items() if name not in self._lists}
        if repeated := tuple(_repeated(name) for name, values in single.items() if len(values) > 1):
            raise InvalidInput(repeated)
        return {**found, **{name: values[0] for name, values in single.items()}}


def metadata_faults(values: Mapping[str, Any], pointer: str) -> list[Fault]:
    """Refuse metadata that are too long to go with every event."""
    if len(msgspec.json.encode(values.get("metadata"))) <= _METADATA_BYTES:
        return []
    return [Fault(pointer=pointer, code="max_length", message="metadata must be at most 4 kB")]


def _repeated(name: str) -> Fault:
    return Fault(pointer=f"/{name}", code="repeated", message=f"{name} is given more than once; send it once")


def _pointed(fault: Fault) -> Fault:
    return Fault(pointer="query:" + fault.pointer.removeprefix("/"), code=fault.code, message=fault.message)
