"""The files that results link to: one small real file of each kind, served under any result's name.

Links carry their expiry as the real ones do, in hexadecimal epoch seconds, and are refused once it has
passed.
"""

from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

from service.clock import Clock

FOLDER: Final = Path(__file__).parent / "media"
LINK_LIFE_S: Final = 30 * 24 * 3600
CONTENT_TYPES: Final = {
    "mp4": "video/mp4",
    "png": "image/png",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "svg": "image/svg+xml",
    "glb": "model/gltf-binary",
}


def link(base_url: str, name: str, expires_at: float) -> str:
    """Write a link to a result file such as `861309198188019719-0.mp4`."""
    return f"{base_url}/media/{name}?ksTime={int(expires_at):x}"


class Samples:
    """Serves the sample files."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def routes(self) -> list[web.RouteDef]:
        """List the routes of the result files."""
        pattern = "|".join(CONTENT_TYPES)
        return [web.get(rf"/media/{{name}}.{{suffix:(?:{pattern})}}", self._serve)]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._expired(request.query.get("ksTime")):
            return web.Response(status=HTTPStatus.FORBIDDEN, text="the link has expired")
        suffix = request.match_info["suffix"]
        return web.FileResponse(FOLDER / f"sample.{suffix}", headers={"Content-Type": CONTENT_TYPES[suffix]})

    def _expired(self, expiry: str | None) -> bool:
        if expiry is None:
            return False
        try:
            return int(expiry, 16) <= self._clock.now()
        except ValueError:
            return True
