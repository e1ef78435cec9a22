"""From a checked input to the request that goes upstream, and the requests that ask about a task.

Compiled once per node. Keys never pass through here: authentication is added when the request is sent, so a
request may be shown and logged as it is.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import quote, urlencode

from msgspec import UNSET, Struct
from yarl import URL

from service.definitions.conditions import holds
from service.definitions.outgoing import FilePart, copied, json_text, media_type, put, sent, set_at, stands_for_nothing
from service.definitions.schema import Ask, AskMany, Auth, Callback, ExternalId, Field, Node, Provider, Stream

_LABELS = 2
_SLOT = re.compile(r"\{(\+?)([a-z][a-z0-9_]*)\}")


class OutgoingRequest(Struct, frozen=True, kw_only=True):
    """A request to upstream, without the key.

    Attributes:
        method: `GET` or `POST`.
        path: Path and query, relative to the base URL.
        headers: Headers that the provider wants besides authentication.
        body: JSON body, or None.
        form: Fields of a form instead, in order; several may have one name.
        encoding: How the form is sent.
        auth: How the key is shown.
        host: First label of another host of the aggregator.
    """

    method: str
    path: str
    headers: dict[str, str] = {}
    body: Any = None
    form: tuple[tuple[str, str | FilePart], ...] | None = None
    encoding: Literal["form", "multipart"] = "form"
    auth: Auth = "bearer"
    host: str | None = None


def address(base_url: str, request: OutgoingRequest) -> str:
    """Return where a request goes, without the key.

    Another host is the aggregator's with its first label changed; an address or a short name, as of a simulator or a
    relay of one's own, has none to change and serves everything itself.
    """
    url = URL(base_url)
    name = url.host or ""
    if request.host is not None and name.count(".") >= _LABELS and name.rpartition(".")[2].isalpha():
        base_url = str(url.with_host(f"{request.host}.{name.partition('.')[2]}")).rstrip("/")
    return base_url + request.path


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
        self._submit = node.submit or _NOWHERE
        self._encoding = node.body
        self._query = _asking_word(node, provider)
        self._many = node.query_many or (provider.query_many if node.query is None else None)
        self.collect = node.collect or provider.collect
        self._headers = {**provider.headers, **node.headers}
        self._auth = node.auth or provider.auth
        self._host = node.host or provider.host
        self._constants = node.constants
        self._fields = dict(fields)
        self._in_path = {name for name, _ in slots(self._submit)}
        self._elsewhere = "body" if self._submit.startswith("POST ") else "query"
        in_query = any((field.place or self._elsewhere) == "query" for field in fields.values() if not field.local)
        self._fixed_path = None if self._in_path or in_query else fill(self._submit, {})[1]
        self.callback = callback_of(node, provider)
        self.callback_field = self.callback.field if self.callback else None
        own_id = _external_id(node, provider)
        self.external_id_field = own_id.field if own_id else None
        self._query_by_external_id = own_id.query if own_id else None

    @property
    def can_ask(self) -> bool:
        """Whether upstream can be asked about a task."""
        return self._query is not None

    @property
    def many(self) -> AskMany | None:
        """How upstream is asked about many tasks at once, if it can be."""
        return self._many

    def build(
        self,
        inputs: Mapping[str, Any],
        *,
        callback_url: str | None = None,
        external_id: str | None = None,
        stream: Stream | None = None,
    ) -> OutgoingRequest:
        """Return the request that starts the operation.

        Args:
            inputs: Checked inputs; media may be files already.
            callback_url: Where upstream may report; left out when the node takes none.
            external_id: Our id for the task; left out when the node takes none.
            stream: Given when the answer is wanted in events.
        """
        places: dict[str, dict[str, Any]] = {
            "body": copied(self._constants),
            "query": {},
            "header": {},
            "path": {},
        }
        for name, field in self._fields.items():
            value = UNSET if field.local else self._value(name, inputs)
            if value is not UNSET and not stands_for_nothing(value, field):
                place = "path" if name in self._in_path else field.place or self._elsewhere
                put(places[place], name, field, self._wrapped(sent(value, field), value, field, inputs))
        self._add_ours(places["body"], callback_url, external_id)
        if stream is not None:
            places["body"] |= copied(stream.send)
        return self._assemble(places, (stream.submit if stream else None) or self._submit)

    def path(self, inputs: Mapping[str, Any]) -> str:
        """Return the path of that request, which for most operations is the same whatever the inputs."""
        return self.build(inputs).path if self._fixed_path is None else self._fixed_path

    def _value(self, name: str, inputs: Mapping[str, Any]) -> Any:
        field = self._fields.get(name)
        if field is None:
            return UNSET
        return inputs[name] if name in inputs else self._default(field, inputs)

    def _add_ours(self, body: dict[str, Any], callback_url: str | None, external_id: str | None) -> None:
        if self.callback and (address := callback_url or self.callback.otherwise):
            set_at(body, self.callback.field, address)
            body |= self.callback.also
        if self.external_id_field and external_id:
            set_at(body, self.external_id_field, external_id)

    def _default(self, field: Field, inputs: Mapping[str, Any]) -> Any:
        applies = field.default_when is None or holds(field.default_when, self._fields, inputs)
        return field.default if applies else UNSET

    def _wrapped(self, value: Any, given: Any, field: Field, inputs: Mapping[str, Any]) -> Any:
        """Put a value, or each element of a list, inside the shape that upstream wants it in."""
        if field.wrap is UNSET:
            return value
        if isinstance(value, list):
            elements = zip(value, given if isinstance(given, list) else value, strict=False)
            return [self._in_shape(field.wrap, each, source, field, inputs) for each, source in elements]
        return self._in_shape(field.wrap, value, given, field, inputs)

    def _in_shape(self, shape: Any, value: Any, given: Any, field: Field, inputs: Mapping[str, Any]) -> Any:
        if isinstance(shape, dict):
            filled = {key: self._in_shape(part, value, given, field, inputs) for key, part in shape.items()}
            return {key: part for key, part in filled.items() if part is not UNSET}
        if isinstance(shape, list):
            return [self._in_shape(part, value, given, field, inputs) for part in shape]
        if not isinstance(shape, str) or not shape.startswith("@"):
            return shape
        if shape == "@":
            return value
        return media_type(given, field.items or field) if shape == "@mime" else self._value(shape[1:], inputs)

    def _assemble(self, places: dict[str, dict[str, Any]], endpoint: str) -> OutgoingRequest:
        method, path = fill(endpoint, places["path"])
        if places["query"]:
            path += ("&" if "?" in path else "?") + urlencode(places["query"], doseq=True)
        headers = self._headers | {name: str(value) for name, value in places["header"].items()}
        body = places["body"] if method == "POST" else None
        form = tuple(_form_fields(body)) if body is not None and self._encoding != "json" else None
        return self._request(
            method,
            path,
            headers=headers,
            body=body if form is None else None,
            form=form,
            encoding="multipart" if self._encoding == "multipart" else "form",
        )

    def _request(self, method: str, path: str, **words: Any) -> OutgoingRequest:
        return OutgoingRequest(
            **{
                "method": method,
                "path": path,
                "headers": self._headers,
                "auth": self._auth,
                "host": self._host,
                **words,
            }
        )

    def query(self, submit_path: str, task_id: str) -> OutgoingRequest | None:
        """Return the request that asks about a task, or None when upstream offers none.

        Args:
            submit_path: Path that the submission was sent to.
            task_id: Upstream's id of the task.
        """
        return self._asking(self._query, {"path": submit_path.partition("?")[0], "task_id": task_id})

    def query_many(self, task_ids: Sequence[str]) -> OutgoingRequest | None:
        """Return the request that asks about many tasks at once, or None when upstream offers none."""
        if self._many is None:
            return None
        asked = Ask(request=self._many.request, body=self._many.body)
        return self._asking(asked, {"task_ids": list(task_ids)})

    def collecting(self, task_id: str, found: Mapping[str, str]) -> OutgoingRequest | None:
        """Return the request that brings a result, or None when there is none or something it needs is missing."""
        values = {"task_id": task_id, **found}
        if self.collect is None or not {name for name, _ in slots(self.collect.request)} <= values.keys():
            return None
        return self._asking(self.collect.request, values)

    def query_by_external_id(self, submit_path: str, external_id: str) -> OutgoingRequest | None:
        """Return the request that looks for a task by our own id, or None when upstream offers none."""
        values = {"path": submit_path.partition("?")[0], "external_id": external_id}
        return self._asking(self._query_by_external_id, values)

    def _asking(self, asked: str | Ask | None, values: Mapping[str, Any]) -> OutgoingRequest | None:
        if asked is None:
            return None
        endpoint, body = (asked, {}) if isinstance(asked, str) else (asked.request, asked.body)
        joined = {name: ",".join(each) if isinstance(each, list) else each for name, each in values.items()}
        method, path = fill(endpoint, joined)
        return self._request(method, path, body=_filled(body, values) if method == "POST" else None)


_NOWHERE = "GET /"


def callback_of(node: Node, provider: Provider) -> Callback | None:
    """Return how a node's tasks are called back about, or None."""
    if node.kind != "task" or node.callback is False:
        return None
    return node.callback if isinstance(node.callback, Callback) else provider.callback


def _asking_word(node: Node, provider: Provider) -> str | Ask | None:
    if node.query is False:
        return None
    return node.query if isinstance(node.query, str | Ask) else provider.query


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    """Fill the slots in a body: a text that is nothing but a slot becomes the value itself."""
    if isinstance(value, dict):
        return {key: _filled(part, values) for key, part in value.items()}
    if isinstance(value, list):
        return [_filled(part, values) for part in value]
    if isinstance(value, str) and (match := _SLOT.fullmatch(value)) and match[2] in values:
        return values[match[2]]
    return value


def _form_fields(body: Mapping[str, Any]) -> Iterator[tuple[str, str | FilePart]]:
    for name, value in body.items():
        for each in value if isinstance(value, list) else [value]:
            yield name, each if isinstance(each, FilePart) else _form_text(each)


def _form_text(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)


def _external_id(node: Node, provider: Provider) -> ExternalId | None:
    if node.kind != "task" or node.external_id is False:
        return None
    return node.external_id if isinstance(node.external_id, ExternalId) else provider.external_id
