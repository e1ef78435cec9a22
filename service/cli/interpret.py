"""`halley nodes interpret`: what Halley reads in an upstream answer, by the very reader that serves runs."""

import sys
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, get_args

import click
import msgspec
from msgspec import Struct

from service.cli.definitions import all_nodes, no_such_node, node_named
from service.definitions.catalog import Catalog
from service.definitions.error_reader import ReadError
from service.definitions.paths import decode_body
from service.definitions.reader import Answer, AnswerReader, As, Reading
from service.definitions.schema import ErrorCode, UpstreamState
from service.settings import load_settings
from service.terminal import print_json


class ToldArtifact(Struct, frozen=True, kw_only=True):
    """A result found in an answer; raw bytes have no URL."""

    kind: str
    url: str | None


class ToldError(Struct, frozen=True, kw_only=True):
    """An error found in an answer, or why there is no reading."""

    code: ErrorCode
    message: str
    retryable: bool


class Interpretation(Struct, frozen=True, kw_only=True):
    """What is read in an answer."""

    task_id: str | None = None
    state: UpstreamState | None = None
    progress: float | None = None
    artifacts: tuple[ToldArtifact, ...] = ()
    text: str | None = None
    data: dict[str, Any] | None = None
    error: ToldError | None = None


class BatchLine(Struct, frozen=True, kw_only=True, rename={"as_": "as"}):
    """A line of a batch: an answer, and what it answered."""

    node: str
    as_: As
    body: Any
    http_status: int | None = None


@click.command("interpret")
@click.argument("node", required=False)
@click.option("--as", "as_", type=click.Choice(get_args(As)), help="What was asked.")
@click.option("--status", type=click.IntRange(100, 599), default=200, show_default=True, help="HTTP status.")
@click.option("--body", type=click.File("rb"), help="The answer's body, `-` for standard input.")
@click.option("--batch", type=click.File("rb"), help='Lines of {"node","as","http_status","body"} instead.')
def command(node: str | None, as_: As | None, status: int, body: BinaryIO | None, batch: BinaryIO | None) -> None:
    """Print what Halley reads in an upstream answer, as JSON."""
    catalog = all_nodes(load_settings().nodes_path)
    if batch is not None and node is None and as_ is None and body is None:
        _interpret_batch(catalog, batch)
    elif batch is None and node is not None and as_ is not None and body is not None:
        answer = _answer(as_, status, decode_body(body.read()))
        print_json(interpretation(node_named(catalog, node).reader, as_, answer))
    else:
        raise click.UsageError("give NODE, --as and --body, or --batch alone")


def _interpret_batch(catalog: Catalog, lines: BinaryIO) -> None:
    out, encode, broken = sys.stdout.buffer, msgspec.json.Encoder().encode, 0
    for told in interpretations(catalog, lines):
        broken += isinstance(told, NotRead)
        out.write(encode(told) + b"\n")
    out.flush()
    if broken:
        raise click.ClickException(f"{broken} of the lines could not be read; each says why in its `error`")


class NotRead(Interpretation, frozen=True, kw_only=True):
    """A line that names no node or is no answer; written like a reading that has nothing but an error."""


def interpretations(catalog: Catalog, lines: Iterable[bytes]) -> Iterator[Interpretation]:
    """Yield what is read in each line, in order; a broken one stops nothing."""
    decode = msgspec.json.Decoder(BatchLine).decode
    for line in lines:
        try:
            asked = decode(line)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as exc:
            yield _not_read("invalid_request", f"this line is no answer: {exc}")
            continue
        node = catalog.nodes.get(asked.node)
        if node is None:
            yield _not_read("not_found", no_such_node(catalog, asked.node))
            continue
        yield interpretation(node.reader, asked.as_, _answer(asked.as_, asked.http_status, asked.body))


def interpretation(reader: AnswerReader, as_: As, answer: Answer) -> Interpretation:
    """Return what is read in an answer, without what only Halley itself needs to know."""
    reading: Reading = reader.read(as_, answer)
    outputs = [found for found in reading.artifacts if found.role == "output"]
    return Interpretation(
        task_id=reading.task_id,
        state=reading.state,
        progress=reading.progress,
        artifacts=tuple(ToldArtifact(kind=found.kind, url=found.url or None) for found in outputs),
        text=reading.text,
        data=reading.data,
        error=_told_error(reading.error),
    )


def _told_error(error: ReadError | None) -> ToldError | None:
    if error is None:
        return None
    return ToldError(code=error.code, message=error.message, retryable=error.retryable)


def _answer(as_: As, status: int | None, body: Any) -> Answer:
    # A callback is a request to us and has no status; the service reads it without one, too.
    return Answer(status=None if as_ == "callback" else status, body=body)


def _not_read(code: ErrorCode, message: str) -> NotRead:
    return NotRead(error=ToldError(code=code, message=message, retryable=False))
