"""Operations: liveness, readiness, metrics and the API document. Open to all; they tell nothing private."""

from litestar import Response, get
from msgspec import Struct

from service.api.answers import json_response
from service.api.deps import Using
from service.errors import StoreError


class Health(Struct, frozen=True, kw_only=True):
    """Whether the process works."""

    status: str
    checks: dict[str, str] = {}


@get("/healthz")
async def healthz() -> Response[bytes]:
    """Tell that the process is alive."""
    return json_response(Health(status="ok"))


@get("/readyz")
async def readyz(services: Using) -> Response[bytes]:
    """Tell whether new work is taken: the database can be written and the process is not stopping."""
    checks = {"process": "ok" if services.is_ready() else "stopping", "database": "ok"}
    try:
        await services.store.check()
    except StoreError as exc:
        checks["database"] = str(exc)
    checks["upstream_key"] = "set" if services.can_run_live else "missing: only mode=mock and mode=preview work"
    checks["callbacks"] = "on" if services.public_url else "off: HALLEY_PUBLIC_URL is not set, runs are polled"
    is_ready = checks["process"] == checks["database"] == "ok"
    return json_response(Health(status="ok" if is_ready else "unavailable", checks=checks), 200 if is_ready else 503)


@get("/metrics")
async def metrics(services: Using) -> Response[bytes]:
    """Give the counters in the Prometheus text format."""
    text = services.metrics.render(await services.store.open_runs())
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


@get("/openapi.json")
async def openapi(services: Using) -> Response[bytes]:
    """Give the API document."""
    return Response(services.openapi, media_type="application/json")
