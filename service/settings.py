"""Settings from the environment, all checked at start; a wrong one is named in one clear line."""

import os
import re
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from service.egress import parse_networks
from service.errors import SettingsError

_KEY_NAMES = ("COMETAPI_KEY", "COMETAPI_API_KEY", "COMET_API_KEY")
_UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}
_MASK = "********"
MOST_WORKERS = 64


class Secret:
    """A text that prints as stars; `reveal` gives it for the one place that needs it."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._value

    def __repr__(self) -> str:
        return _MASK

    __str__ = __repr__


class _Texts(Struct, frozen=True, kw_only=True):
    """The settings as they stand in the environment."""

    HALLEY_UPSTREAM_URL: str = "https://api.cometapi.com"
    HALLEY_PUBLIC_URL: str | None = None
    HALLEY_HOST: str = "127.0.0.1"
    HALLEY_PORT: Annotated[int, Meta(ge=0, le=65535)] = 2061
    HALLEY_WORKERS: Annotated[int, Meta(ge=1, le=MOST_WORKERS)] = 1
    HALLEY_DATA_DIR: str = ".halley"
    HALLEY_DATABASE_URL: str | None = None
    HALLEY_API_KEY: str | None = None
    HALLEY_SECRET_KEY: str | None = None
    HALLEY_NODES_PATH: str = ""
    HALLEY_EGRESS_ALLOW: str = ""
    HALLEY_SINKS: str = ""
    HALLEY_KEEP_RUNS: str | None = None
    HALLEY_LOG: Literal["text", "json"] = "text"


class Settings(Struct, frozen=True, kw_only=True):
    """How this process runs.

    Attributes:
        upstream_key: Key of the aggregator; without one only `preview` and `mock` runs are possible.
        upstream_url: Base URL of the aggregator.
        public_url: Where the outside reaches Halley; without one no callbacks are asked for.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        workers: Processes that serve there together.
        data_dir: Folder of the database and of the secret key.
        database: SQLite file, or URL of a PostgreSQL database.
        api_key: One key that is always valid, for the workspace `default`.
        secret_key: Key that signing secrets are derived from; made in the data folder when not given.
        nodes_path: More definition folders.
        egress_allow: Networks that webhooks may reach although they are not public.
        sinks: URLs of message brokers that are told events; read by `delivery.sinks.urls`.
        keep_runs_s: Runs that ended longer ago are deleted with all that was kept of them; None keeps all.
        log: Form of the log lines.
    """

    upstream_key: Secret | None
    upstream_url: str
    public_url: str | None
    host: str
    port: int
    workers: int
    data_dir: Path
    database: Path | Secret
    api_key: Secret | None
    secret_key: Secret | None
    nodes_path: tuple[Path, ...]
    egress_allow: tuple[IPv4Network | IPv6Network, ...]
    sinks: tuple[Secret, ...]
    keep_runs_s: float | None
    log: Literal["text", "json"]


def load_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """Read and check the settings.

    Raises:
        SettingsError: Naming the first setting that is wrong, and how.
    """
    given = {name: environ[name].strip() for name in _Texts.__struct_fields__ if environ.get(name, "").strip()}
    try:
        texts = msgspec.convert(given, _Texts, strict=False)
    except msgspec.ValidationError as exc:
        message, _, path = str(exc).partition(" - at ")
        raise SettingsError(f"{path.strip('`$.')}: {message}") from None
    key = next((environ[name].strip() for name in _KEY_NAMES if environ.get(name, "").strip()), None)
    data_dir = Path(texts.HALLEY_DATA_DIR)
    return Settings(
        upstream_key=_secret(key),
        upstream_url=_base_url("HALLEY_UPSTREAM_URL", texts.HALLEY_UPSTREAM_URL).removesuffix("/v1"),
        public_url=_base_url("HALLEY_PUBLIC_URL", texts.HALLEY_PUBLIC_URL) if texts.HALLEY_PUBLIC_URL else None,
        host=texts.HALLEY_HOST,
        port=texts.HALLEY_PORT,
        workers=texts.HALLEY_WORKERS,
        data_dir=data_dir,
        database=_database(texts.HALLEY_DATABASE_URL, data_dir),
        api_key=_secret(texts.HALLEY_API_KEY),
        secret_key=_secret(texts.HALLEY_SECRET_KEY),
        nodes_path=_folders(texts.HALLEY_NODES_PATH),
        egress_allow=_networks(texts.HALLEY_EGRESS_ALLOW),
        sinks=tuple(map(Secret, texts.HALLEY_SINKS.split())),
        keep_runs_s=_age(texts.HALLEY_KEEP_RUNS),
        log=texts.HALLEY_LOG,
    )


def require_shared_database(settings: Settings) -> None:
    """Refuse several workers on a database that carries one.

    Raises:
        SettingsError: With the way out.
    """
    if settings.workers > 1 and isinstance(settings.database, Path):
        raise SettingsError(
            f"HALLEY_WORKERS, --workers: a SQLite file carries one process, not {settings.workers}; "
            "set HALLEY_DATABASE_URL=postgresql://user:password@host/database, or take 1"
        )


def age_s(text: str) -> float:
    """Read a length of time such as `30d`, `12h` or `8w`; returns seconds.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch("([1-9][0-9]{0,5})([hdw])", text)
    if found is None:
        raise ValueError(f"{text!r} is no age; write 30d, 12h or 8w")
    return float(found[1]) * _UNITS_S[found[2]]


def _age(text: str | None) -> float | None:
    try:
        return None if text is None else age_s(text)
    except ValueError as exc:
        raise SettingsError(f"HALLEY_KEEP_RUNS: {exc}") from None


def _secret(value: str | None) -> Secret | None:
    return Secret(value) if value else None


def _base_url(name: str, value: str) -> str:
    try:
        parts = urlsplit(value)
        is_base = parts.scheme in ("http", "https") and parts.hostname and not parts.query and parts.port != 0
    except ValueError:
        is_base = False
    if not is_base:
        raise SettingsError(f"{name}: must be a URL such as https://halley.example.com, not {value!r}")
    return value.rstrip("/")


def _database(url: str | None, data_dir: Path) -> Path | Secret:
    if url is None:
        return data_dir / "halley.db"
    if url.startswith("sqlite:///"):
        return Path(url.removeprefix("sqlite:///"))
    if url.startswith(("postgresql://", "postgres://")):
        return Secret(url)
    raise SettingsError(
        "HALLEY_DATABASE_URL: must be postgresql://user:password@host/database or sqlite:///path/to/file.db"
    )


def _folders(value: str) -> tuple[Path, ...]:
    folders = tuple(Path(part) for part in value.split(os.pathsep) if part)
    for folder in folders:
        if not folder.is_dir():
            raise SettingsError(f"HALLEY_NODES_PATH: there is no folder {folder}")
    return folders


def _networks(value: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(parse_networks(value))
    except ValueError as exc:
        raise SettingsError(f"HALLEY_EGRESS_ALLOW: {exc}") from None
