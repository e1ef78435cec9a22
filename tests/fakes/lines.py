"""The lines to copy that stand in the documentation: found in the page, and sent as they stand, without curl."""

import re
import shlex
from collections.abc import Sequence

import httpx
from msgspec import Struct

_BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
_TAKES = {"-H": "header", "--header": "header", "-d": "data", "--data": "data", "-X": "method", "--request": "method"}


class Sent(Struct, frozen=True, kw_only=True):
    """What a curl line sends."""

    method: str
    url: str
    headers: list[tuple[str, str]]
    body: str | None


def curl_lines(page: str) -> list[str]:
    """Return the curl commands of a page, each on one line."""
    blocks = (block.replace("\\\n", " ") for block in _BLOCK.findall(page))
    return [line.strip() for block in blocks for line in block.splitlines() if line.startswith("curl ")]


def parsed(line: str, variables: dict[str, str]) -> Sent:
    """Return what curl would send; fails on an option that is not known here."""
    for name, value in variables.items():
        line = line.replace(f"${name}", value)
    words = shlex.split(line)[1:]
    urls, given = _sorted(words)
    (url,) = urls
    data = given.get("data", [])
    return Sent(
        method=given.get("method", ["POST" if data else "GET"])[-1],
        url=url,
        headers=[_header(text) for text in given.get("header", [])],
        body="&".join(data) if data else None,
    )


def _sorted(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    urls: list[str] = []
    given: dict[str, list[str]] = {}
    waiting = iter(words)
    for word in waiting:
        if word.startswith("-"):
            given.setdefault(_TAKES[word], []).append(next(waiting))
        else:
            urls.append(word)
    return urls, given


def _header(text: str) -> tuple[str, str]:
    name, _, value = text.partition(":")
    return name.strip(), value.strip()


async def send(client: httpx.AsyncClient, sent: Sent, **query: str) -> httpx.Response:
    """Send what a line says, with some more words in the query."""
    url = httpx.URL(sent.url).copy_merge_params(query)
    return await client.request(sent.method, url, headers=sent.headers, content=sent.body)
