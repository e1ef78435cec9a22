"""Log lines: facts as fields, pretty on a terminal, JSON for machines; secrets never reach here."""

import logging
import sys
import time
from contextvars import ContextVar
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog

from service.clock import isoformat

Log = structlog.typing.FilteringBoundLogger

# The request that lines are written for. One variable of our own costs a tenth of structlog's table of them.
request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def configure_log(form: Literal["text", "json"]) -> Log:
    """Set up structured logging to standard error and return the root logger."""
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_written)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            _with_request,
            structlog.processors.add_log_level,
            _with_time,
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Unfailing(sys.stderr))),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # Bound once: a logger that is looked up for every line costs more than the line.
    return cast("Log", structlog.get_logger().bind())


def _with_time(_logger: Any, _name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    line["timestamp"] = isoformat(time.time())
    return line


def _with_request(_logger: Any, _name: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    if (ident := request_id.get()) is not None:
        line.setdefault("request_id", ident)
    return line


def _written(line: dict[str, Any], **_: Any) -> str:
    return msgspec.json.encode(line, enc_hook=repr).decode()


class _Unfailing:
    """A stream that loses what cannot be written: a log on a full disk must not end the work that it tells of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        try:  # noqa: SIM105 - `contextlib.suppress` costs as much as the line
            self._stream.write(text)
        except (OSError, ValueError):
            pass

    def flush(self) -> None:
        try:  # noqa: SIM105 - as above
            self._stream.flush()
        except (OSError, ValueError):
            pass


def silent_log() -> Log:
    """Return a logger that writes nothing, for tools and tests."""
    return cast("Log", structlog.wrap_logger(None, processors=[_drop]))


def _drop(_logger: Any, _name: str, _event: Any) -> Any:
    raise structlog.DropEvent
