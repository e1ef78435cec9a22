"""From a checked input to the request that goes upstream, and the requests that ask about a task.

Compiled once per node. Keys never pass through here: authentication is added when the request is sent, so a
request may be shown and logged as it is.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import UNSET, Struct

from service.definitions import media
from service.definitions.conditions import holds
from service.definitions.schema import ExternalId, Field, Node, Provider

_SLOT = re.compile(r"\{(\+?)([a-z][a-z0-9_]*)\}")


class OutgoingRequest(Struct, frozen=True, kw_only=True):
    """A request to upstream, without the key.

    Attributes:
        method: `GET` or `POST`.
        path: Path and query, relative to the base URL.
        headers: Headers that the provider wants besides authentication.
        body: JSON body, or None.
    """

    method: str
    path: str
    headers: dict[str, str] = {}
    body: dict[str, Any] | None = None


def slots(endpoint: str) -> list[tuple[str, bool]]:
    """Return the slots of an endpoint as (name, may hold slashes)."""
    return [(name, bool(plus)) for plus, name in _SLOT.findall(endpoint)]


def fill(endpoint: str, values: Mapping[str, Any]) -> tuple[str, str]:
    """Return method and path of an endpoint with its slots filled and escaped."""

    def slot(match: re.Match[str]) -> str:
        text, is_path = str(values[match[2]]), match[1] or match[2] == "path"
        return "/".join(map(_segment, text.split("/"))) if is_path else _segment(text)

    method, _, path = endpoint.partition(" ")
    return method, _SLOT.sub(slot, path)


def _segment(text: str) -> str:
    """Escape one path segment, dots too where they would climb to another path."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")


class RequestPlan:
    """How a node's requests are made.

    Args:
        node: The node.
        provider: Its provider.
        fields: Its inputs with the provider's words filled in.
    """

    def __init__(self, node: Node, provider: Provider, fields: Mapping[str, Field]) -> None:
        self._submit = node.submit
        self._query = node.query or provider.query
        self._headers = dict(provider.headers)
        self._constants = node.constants
        self._fields = dict(fields)
        self._in_path = {name for name, _ in slots(node.submit)}
        self._elsewhere = "body" if node.submit.startswith("POST ") else "query"
        takes_callback = node.kind == "task" and node.callback and provider.callback
        self.callback_field = provider.callback.field if takes_callback and provider.callback else None
        own_id = _external_id(node, provider)
        self.external_id_field = own_id.field if own_id else None
        self._query_by_external_id = own_id.query if own_id else None

    def build(
        self, inputs: Mapping[str, Any], *, callback_url: str | None = None, external_id: str | None = None
    ) -> OutgoingRequest:
        """Return the request that starts the operation.

        Args:
            inputs: Checked inputs.
            callback_url: Where upstream may report; left out when the node takes none.
            external_id: Our id for the task; left out when the node takes none.
        """
        places: dict[str, dict[str, Any]] = {
            "body": _copied(self._constants),
            "query": {},
            "header": {},
            "path": {},
        }
        for name, field in self._fields.items():
            value = inputs[name] if name in inputs else self._default(field, inputs)
            if value is not UNSET:
                place = "path" if name in self._in_path else field.place or self._elsewhere
                _put(places[place], name, field, sent(value, field))
        for own, value in ((self.callback_field, callback_url), (self.external_id_field, external_id)):
            if own and value:
                _set(places["body"], own, value)
        return self._assemble(places)

    def _default(self, field: Field, inputs: Mapping[str, Any]) -> Any:
        applies = field.default_when is None or holds(field.default_when, self._fields, inputs)
        return field.default if applies else UNSET

    def _assemble(self, places: dict[str, dict[str, Any]]) -> OutgoingRequest:
        method, path = fill(self._submit, places["path"])
        if places["query"]:
            path += ("&" if "?" in path else "?") + urlencode(places["query"])
        headers = self._headers | {name: str(value) for name, value in places["header"].items()}
        body = places["body"] if method == "POST" else None
        return OutgoingRequest(method=method, path=path, headers=headers, body=body)

    def query(self, submit_path: str, task_id: str) -> OutgoingRequest | None:
        """Return the request that asks about a task, or None when upstream offers none.

        Args:
            submit_path: Path that the submission was sent to.
            task_id: Upstream's id of the task.
        """
        values = {"path": submit_path.partition("?")[0], "task_id": task_id}
        return self._asking(self._query, values)

    def query_by_external_id(self, submit_path: str, external_id: str) -> OutgoingRequest | None:
        """Return the request that looks for a task by our own id, or None when upstream offers none."""
        values = {"path": submit_path.partition("?")[0], "external_id": external_id}
        return self._asking(self._query_by_external_id, values)

    def _asking(self, endpoint: str | None, values: Mapping[str, str]) -> OutgoingRequest | None:
        if endpoint is None:
            return None
        method, path = fill(endpoint, values)
        return OutgoingRequest(method=method, path=path, headers=self._headers)


def _external_id(node: Node, provider: Provider) -> ExternalId | None:
    if node.kind != "task" or node.external_id is False:
        return None
    return node.external_id if isinstance(node.external_id, ExternalId) else provider.external_id


def sent(value: Any, field: Field) -> Any:
    """Return a value as upstream wants it: converted, renamed within, media in the right form."""
    if field.type == "media":
        return media.outgoing(value, field)
    if field.items and isinstance(value, list):
        return [sent(item, field.items) for item in value]
    if field.fields and isinstance(value, dict):
        inner: dict[str, Any] = {}
        for name, member in field.fields.items():
            if member and (v := value.get(name, member.default)) is not UNSET:
                _put(inner, name, member, sent(v, member))
        return inner
    if field.values and str(value) in field.values:
        value = field.values[str(value)]
    return _CONVERSIONS[field.convert](value) if field.convert else value


def _number(value: Any) -> int | float:
    number = float(value)
    return int(number) if number.is_integer() else number


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {"string": str, "number": _number}


def _put(target: dict[str, Any], name: str, field: Field, value: Any) -> None:
    for path in [field.to] if isinstance(field.to, str) else field.to or [name]:
        _set(target, path, value)


def _set(target: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for step in above:
        target = target.setdefault(step, {})
    target[last] = value


def _copied(constants: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, dict) else value for name, value in constants.items()}
