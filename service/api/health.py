"""Operations: liveness, readiness, metrics and the two documents. Open to all; only who has an API key is told more."""

from collections.abc import Mapping

from litestar import Response, get
from msgspec import Struct

from service.api.answers import json_response
from service.api.checks import Check, database_check, definitions_check, disk_check, key_check, sweeps_check
from service.api.deps import Services, Using
from service.api.starts import AnyRequest
from service.errors import StoreError, Unauthorized


class Health(Struct, frozen=True, kw_only=True):
    """Whether the process works."""

    status: str
    checks: dict[str, str] = {}
    details: list[Check] = []


@get("/healthz")
async def healthz() -> Response[bytes]:
    """Tell that the process is alive."""
    return json_response(Health(status="ok"))


@get("/readyz")
async def readyz(request: AnyRequest, services: Using) -> Response[bytes]:
    """Tell whether new work is taken: the database can be written and the process is not stopping."""
    checks = {"process": "ok" if services.is_ready() else "stopping", "database": "ok"}
    try:
        await services.store.check()
    except StoreError as exc:
        checks["database"] = str(exc)
    checks["upstream_key"] = "set" if services.can_run_live else "missing: only mode=mock and mode=preview work"
    checks["callbacks"] = "on" if services.public_url else "off: HALLEY_PUBLIC_URL is not set, runs are polled"
    is_ready = checks["process"] == checks["database"] == "ok"
    details = await _details(services) if await _knows_us(request.headers, services) else []
    health = Health(status="ok" if is_ready else "unavailable", checks=checks, details=details)
    return json_response(health, 200 if is_ready else 503)


async def _knows_us(headers: Mapping[str, str], services: Services) -> bool:
    """Tell whether a valid API key was sent; without one, or without a database to look it up in, nobody is known."""
    try:
        await services.keys.identify(headers)
    except (Unauthorized, StoreError):
        return False
    return True


async def _details(services: Services) -> list[Check]:
    return [
        await database_check(services.store),
        sweeps_check(services.switchboard),
        key_check(services.key_watch.look()),
        definitions_check(len(services.catalog.nodes)),
        disk_check(services.data_dir),
    ]


@get("/metrics")
async def metrics(services: Using) -> Response[bytes]:
    """Give the counters in the Prometheus text format."""
    text = services.metrics.render(await services.store.open_runs())
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@get("/asyncapi.json")
async def asyncapi(services: Using) -> Response[bytes]:
    """Give the document of events."""
    return Response(services.asyncapi(), media_type="application/json")


@get("/openapi.json")
async def openapi(services: Using) -> Response[bytes]:
    """Give the API document."""
    return Response(services.openapi(), media_type="application/json")
