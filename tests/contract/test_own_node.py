"""The guide to a node of one's own: whoever follows it, step by step, sees what it says."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from aiohttp import web
from msgspec import Struct

from tests.fakes.house import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "own-node.md").read_text(encoding="utf-8")
LIMIT_S = 60.0
SERVE = "halley serve"


class Block(Struct, frozen=True):
    """A block of the guide."""

    kind: str
    text: str


def blocks() -> Iterator[Block]:
    """Yield the blocks of the guide in order."""
    for kind, text in re.findall(r"```(yaml|sh|text)\n(.*?)```", PAGE, re.DOTALL):
        yield Block(kind, text)


class Lumen:
    """The invented API: each task is looked at once before it ends."""

    def __init__(self) -> None:
        self.looks: dict[str, int] = {}
        self.texts: dict[str, str] = {}
        self.app = web.Application()
        self.app.add_routes(
            [
                web.post("/lumen/v1/images", self._draw),
                web.post("/lumen/v1/edits", self._edit),
                web.get("/lumen/v1/images/{id}", self._tell),
                web.post("/lumen/v1/captions", self._caption),
                web.post("/lumen/v1/stories", self._story),
            ]
        )

    async def _draw(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["shape"] == "square"
        return self._begun(body["text"])

    async def _edit(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert isinstance(form["picture"], web.FileField)
        return self._begun(str(form["text"]))

    def _begun(self, text: str) -> web.Response:
        name = f"j-{len(self.texts)}"
        self.texts[name], self.looks[name] = text, 0
        return web.json_response({"job": {"id": name, "phase": "waiting"}})

    async def _tell(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        self.looks[name] += 1
        if self.looks[name] == 1:
            return web.json_response({"job": {"id": name, "phase": "drawing", "percent": 40}})
        if "famous" in self.texts[name]:
            return web.json_response({"job": {"id": name, "phase": "broken", "why": "the text names a trademark"}})
        files = [{"href": f"https://cdn.example/{name}.png"}]
        return web.json_response({"job": {"id": name, "phase": "done", "files": files}})

    async def _caption(self, request: web.Request) -> web.Response:
        assert (await request.json())["picture"].startswith("https://")
        return web.json_response({"caption": "A comet over the sea."})

    async def _story(self, request: web.Request) -> web.Response:
        assert "live" not in await request.json()
        return web.json_response({"story": "Once there was a comet."})


class Reader:
    """Somebody who follows the guide in a folder of their own."""

    def __init__(self, folder: Path, upstream_url: str, port: int) -> None:
        self.folder = folder
        self.served: asyncio.subprocess.Process | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HALLEY_", "COMET"))}
        self.environ = {
            **kept,
            "PATH": f"{self._commands(folder)}:{kept['PATH']}",
            "NO_PROXY": "*",
            "HALLEY_UPSTREAM_URL": upstream_url,
            "HALLEY_DATA_DIR": str(folder / "data"),
            "HALLEY_PORT": str(port),
            "COMETAPI_KEY": "any",
        }

    def _commands(self, folder: Path) -> Path:
        """Make a `halley` that is the one under test."""
        command = folder / "bin" / "halley"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m service "$@"\n')
        command.chmod(0o755)
        return command.parent

    def write(self, text: str) -> None:
        """Write a file whose place stands in its first line."""
        place = re.findall(r"\A# (\S+)\n", text)[0]
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / place).write_text(text, encoding="utf-8")

    async def follow(self, text: str) -> str:
        """Do what a block of commands says; returns what they print."""
        printed = ""
        for line in text.splitlines():
            if line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environ[name] = value
            elif line == SERVE:
                await self._serve()
            else:
                printed += await self._run(line)
        return printed

    async def _run(self, line: str) -> str:
        process = await asyncio.create_subprocess_shell(
            line, cwd=self.folder, env=self.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(LIMIT_S):
            told, complained = await process.communicate()
        assert process.returncode == 0, complained.decode()
        return told.decode()

    async def _serve(self) -> None:
        await self.stop()
        self.served = await asyncio.create_subprocess_exec(
            "halley", "serve", cwd=self.folder, env=self.environ, stdout=asyncio.subprocess.PIPE
        )
        assert self.served.stdout is not None
        async with asyncio.timeout(LIMIT_S):
            while not (await self.served.stdout.readline()).startswith(b"Webhook signing secret"):
                assert self.served.returncode is None

    async def stop(self) -> None:
        """Stop the service, where one runs."""
        if self.served is not None and self.served.returncode is None:
            self.served.terminate()
            await self.served.communicate()


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    """A reader, and the API of the guide."""
    runner = web.AppRunner(Lumen().app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    (tmp_path / "comet.png").write_bytes((ROOT / "service/simulator/media/sample.png").read_bytes())
    reader = Reader(tmp_path, f"http://{host}:{port}", free_port())
    yield reader
    await reader.stop()
    await runner.cleanup()


@pytest.mark.timeout(240)  # a dozen commands, each of which loads all definitions
async def test_the_guide_can_be_followed(reader: Reader) -> None:
    """Its files, written in order, and its commands lead to what it prints; `…` stands for anything."""
    printed = ""
    for block in blocks():
        if block.kind == "yaml":
            reader.write(block.text)
        elif block.kind == "sh":
            printed = await reader.follow(block.text)
        else:
            assert re.fullmatch(pattern_of(block.text), printed), f"the guide says\n{block.text}\nand it was\n{printed}"


def pattern_of(text: str) -> str:
    """Return the expression of what may be printed."""
    return "".join(".*?" if part == "…" else re.escape(part) for part in re.split("(…)", text)).replace(
        ".*?", "(?s:.*?)"
    )


def test_the_guide_has_something_to_follow() -> None:
    """Files, commands and what they print are found in it."""
    kinds: Sequence[str] = [block.kind for block in blocks()]

    assert min(kinds.count(kind) for kind in ("yaml", "sh", "text")) > 5
