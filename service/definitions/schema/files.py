"""What stands in a file of its own: a provider, a node, and the fixtures that prove it."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from service.definitions.schema.following import Ask, AskMany, Budget, Callback, Collect, ExternalId, Pace
from service.definitions.schema.inputs import Advice, Field, Rule
from service.definitions.schema.reading import Reads
from service.definitions.schema.ways import Socket, Step, Table
from service.definitions.schema.words import Auth, Duration, Endpoint, Name, NodeId, Word


class Provider(Word, frozen=True, kw_only=True):
    """What is said once for all operations of a family: `nodes/<provider>/provider.yaml`.

    Attributes:
        provider: Its name, that of the folder.
        title: Label for people.
        about: What it is, in a sentence or two.
        docs: Page of the upstream documentation.
        auth: How requests are authenticated: with the key as a bearer token, as `key` in the query, or not at all.
        host: First label of another host of the aggregator: `query` turns api.example.com into query.example.com.
        headers: Sent with every request.
        answers: Dialects that answers are read in, tried in this order.
        query: The request that asks about a task: `{task_id}` is its id, `{path}` where it was submitted.
        query_many: The request that asks about many tasks at once.
        collect: The request that brings a result which the query does not.
        callback: How it calls back, if it does.
        external_id: How it keeps an id of ours, if it does.
        pace: When tasks are asked about.
        budget: What all its runs share.
        fields: Inputs that several operations have.
        warn: Advice for every operation that has all the inputs named in it.
    """

    provider: Name
    title: str
    about: str
    docs: str | None = None
    auth: Auth = "bearer"
    host: Name | None = None
    headers: dict[str, str] = {}
    answers: list[Name]
    query: Endpoint | Ask | None = None
    query_many: AskMany | None = None
    collect: Collect | None = None
    callback: Callback | None = None
    external_id: ExternalId | None = None
    pace: Pace = Pace()
    budget: Budget = Budget()
    fields: dict[str, Field] = {}
    warn: list[Advice] = []


class Node(Word, frozen=True, kw_only=True):
    """One operation: `nodes/<provider>/<operation>.yaml`.

    Attributes:
        node: Its id.
        title: Label for people.
        about: What it makes, in a sentence or two.
        kind: `task` is followed until it ends, `direct` answers with the result, `query` asks about a task, `local`
            calls nothing, `flow` runs other nodes one after the other.
        answers: Dialects that its answers are read in, instead of the provider's.
        category: Group in lists; default: the result's kind.
        seed_row: Row of the provider's catalogue that it covers.
        docs: Page of the upstream documentation.
        withdrawn: Why upstream no longer offers it; it stays callable.
        replaced_by: Node to use instead.
        submit: The request that starts it.
        auth: How it is authenticated, when other than the provider says.
        host: Other host, when other than the provider says.
        headers: Sent besides the provider's.
        body: How the body is sent; in forms, objects are JSON texts and lists are repeated fields.
        timeout: Longest wait for the answer to the submission.
        free: It starts and costs nothing, so an answer that was lost is asked for again.
        checks_key: It tells whether the key is good; `halley check` and `/readyz` ask it. It is direct, free and needs
            no input.
        query: The request that asks about a task, when other than the provider's; `false` when there is none.
        query_many: The request that asks about many tasks at once, when other than the provider's.
        collect: The request that brings a result which the query does not, when other than the provider's.
        repeat: An answer without a result is not ready yet: until a task is named, the submission itself is sent again.
        continues: Input that names a task which waits for input; runs that follow it are looked at again.
        inputs: What the user gives, in the order shown.
        rules: Requirements across inputs.
        warn: Advice that does not refuse.
        constants: Sent as they are.
        table: Answer of a local node.
        steps: What a flow runs.
        socket: How its turn is held, when it is no request but a WebSocket.
        result: Kind of the main result.
        reads: Reading of answers where it differs from the provider's dialects.
        pace: When tasks are asked about, where it differs.
        callback: `false` when this operation takes no callback URL; or how, other than the provider says.
        external_id: `false` when this operation takes no id of ours; or how, other than the provider says.
        example: A whole input for the documentation; default: the examples of the required inputs.
    """

    node: NodeId
    title: str
    about: str
    kind: Literal["task", "direct", "query", "local", "flow"] = "task"
    answers: list[Name] | None = None
    category: str | None = None
    seed_row: str | None = None
    docs: str | None = None
    withdrawn: str | None = None
    replaced_by: NodeId | None = None
    submit: Endpoint | None = None
    auth: Auth | None = None
    host: Name | None = None
    headers: dict[str, str] = {}
    body: Literal["json", "form", "multipart"] = "json"
    timeout: Duration | None = None
    free: bool = False
    checks_key: bool = False
    query: Endpoint | Ask | bool | None = None
    query_many: AskMany | None = None
    collect: Collect | None = None
    repeat: bool = False
    continues: str | None = None
    inputs: dict[str, Field | None] = {}
    rules: list[Rule] = []
    warn: list[Advice] = []
    constants: dict[str, Any] = {}
    table: Table | None = None
    steps: list[Step] = []
    socket: Socket | None = None
    result: Literal["video", "image", "audio", "model3d", "file", "text", "data"]
    reads: Reads = Reads()
    pace: Pace | UnsetType = UNSET
    callback: bool | Callback = True
    external_id: bool | ExternalId = True
    example: dict[str, Any] | None = None


class Case(Word, frozen=True, kw_only=True):
    """One fixture: an answer of upstream and what must be read in it.

    Attributes:
        name: What the answer shows; once per file.
        as_: What was asked (`as` in the file): `submit`, `poll`, or nothing (`callback`).
        status: HTTP status; a callback has none.
        body: The decoded JSON, or a text when the answer is no JSON.
        nodes: In a family's file: the only operations that read it; default: all that make tasks.
        reads: What must be read; what is not named is not compared.
    """

    name: str
    as_: Literal["submit", "poll", "callback"] = msgspec.field(name="as")
    status: int = 200
    nodes: list[str] = []
    body: Any
    reads: dict[str, Any]
