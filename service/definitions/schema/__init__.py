"""The words of the definition format, as Structs.

Their JSON Schema is generated into `openapi/schemas/` for editors. What a word means stands in its docstring;
`docs/definitions.md` teaches the format by example. Rules that cross fields or files are in `lint`.
"""

from service.definitions.schema.files import Case, Node, Provider
from service.definitions.schema.following import Ask, AskMany, Budget, Callback, Collect, ExternalId, Pace
from service.definitions.schema.inputs import Advice, Condition, Field, Match, Rule
from service.definitions.schema.reading import (
    ArtifactRule,
    Dialect,
    ErrorRule,
    Errors,
    Failure,
    Links,
    Next,
    Reads,
    States,
    Stream,
    StreamStep,
    Unwrap,
    Verdict,
)
from service.definitions.schema.ways import Pick, Socket, Step, Table
from service.definitions.schema.words import (
    ArtifactKind,
    Auth,
    Duration,
    Endpoint,
    ErrorCode,
    Name,
    NodeId,
    Path,
    Size,
    Transport,
    UpstreamState,
    seconds,
    size_bytes,
)

__all__ = [
    "Advice",
    "ArtifactKind",
    "ArtifactRule",
    "Ask",
    "AskMany",
    "Auth",
    "Budget",
    "Callback",
    "Case",
    "Collect",
    "Condition",
    "Dialect",
    "Duration",
    "Endpoint",
    "ErrorCode",
    "ErrorRule",
    "Errors",
    "ExternalId",
    "Failure",
    "Field",
    "Links",
    "Match",
    "Name",
    "Next",
    "Node",
    "NodeId",
    "Pace",
    "Path",
    "Pick",
    "Provider",
    "Reads",
    "Rule",
    "Size",
    "Socket",
    "States",
    "Step",
    "Stream",
    "StreamStep",
    "Table",
    "Transport",
    "Unwrap",
    "UpstreamState",
    "Verdict",
    "seconds",
    "size_bytes",
]
