"""Answers of the aggregator itself, the same in front of every family: its errors, its pages, its proxies.

A family's own refusals belong to the family.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from aiohttp import web

FIRST_CLOUDFLARE_STATUS = 520

PAGE = "<!doctype html><html><head><title>API</title></head><body><div id='root'></div></body></html>"


class Refused(Exception):
    """A request is answered by a refusal."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response


def json_answer(body: Any, status: int = HTTPStatus.OK, headers: Mapping[str, str] | None = None) -> web.Response:
    """Make a JSON answer."""
    return web.Response(body=msgspec.json.encode(body), status=status, headers=headers, content_type="application/json")


def platform_error(status: int, message: str, code: str, request_id: str) -> web.Response:
    """Make an error in the aggregator's own envelope, the request id at the end of its message."""
    error = {
        "code": code,
        "message": f"{message} (request id: {request_id})",
        "type": "comet_api_error",
        "param": "",
    }
    return json_answer({"error": error}, status)


def no_such_task() -> web.Response:
    """Make the relay's answer to a query of a task that it does not know."""
    body = {"code": "task_not_exist", "message": "task_not_exist", "data": None}
    return json_answer(body, HTTPStatus.BAD_REQUEST)


def not_mounted() -> web.Response:
    """Make the answer of a route that the aggregator does not mount."""
    return json_answer({"code": None, "message": "404"}, HTTPStatus.NOT_FOUND)


def page() -> web.Response:
    """Make the web page that stands where no API is, with HTTP 200."""
    return web.Response(text=PAGE, content_type="text/html")


def moved() -> web.Response:
    """Make a redirect that an API client must not follow."""
    return web.Response(status=HTTPStatus.MOVED_PERMANENTLY, headers={"Location": "/"})


def proxy_error(status: int, request_id: str) -> web.Response:
    """Make the answer of a proxy on the way: JSON below 500, a page above, bare text from Cloudflare."""
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return platform_error(status, "refused by the gateway", "", request_id)
    if status >= FIRST_CLOUDFLARE_STATUS:
        return web.Response(status=status, text=f"error code: {status}")
    page_text = f"<html><head><title>{status}</title></head><body><hr><center>nginx</center></body></html>"
    return web.Response(status=status, text=page_text, content_type="text/html")
