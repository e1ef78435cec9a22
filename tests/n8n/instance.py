"""A real n8n on loopback, with a folder of its own and every connection to the outside switched off."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
from msgspec import Struct

from tests.fakes.ports import free_port
from tests.n8n.process import Program, output

Workflow = dict[str, Any]

_OWNER = {"email": "ada@example.com", "password": "Correct-horse-1"}
_OVER = ("success", "error", "crashed", "canceled")
# A proxy on which nobody listens: what should still want to leave this machine does not.
_NOWHERE = "http://127.0.0.1:9"
_QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_WHATS_NEW_ENABLED": "false",
    "N8N_DYNAMIC_BANNERS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_LICENSE_AUTO_RENEW_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "N8N_DISABLED_MODULES": "mcp-registry,community-packages",
    "N8N_LICENSE_SERVER_URL": _NOWHERE,
    "HTTP_PROXY": _NOWHERE,
    "HTTPS_PROXY": _NOWHERE,
    "NO_PROXY": "127.0.0.1,localhost",
}


class Ended(Struct, frozen=True, kw_only=True):
    """What became of an execution.

    Attributes:
        id: Its number.
        status: n8n's word.
        mode: What started it, in n8n's word.
        video: What the last step took from the event.
        run: The run that the event told of.
        error: Why it ended badly.
    """

    id: str
    status: str
    mode: str
    video: str = ""
    run: str = ""
    error: str = ""


class N8n:
    """An n8n that is installed in a folder, started with a data folder of its own.

    Args:
        installed: Where `npm install` put it.
        folder: Data and log.

    Attributes:
        url: Where it listens.
        log: What it printed.
    """

    def __init__(self, installed: Path, folder: Path) -> None:
        modules = installed.resolve() / "node_modules"
        self._node = str(modules / "node" / "bin" / "node")
        self._n8n = str(modules / "n8n" / "bin" / "n8n")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = folder / "n8n.log"
        self._folder = folder
        environ = {
            **_QUIET,
            "PATH": f"{modules / 'node' / 'bin'}:{os.environ['PATH']}",
            "HOME": str(folder),
            "N8N_USER_FOLDER": str(folder),
            "N8N_LISTEN_ADDRESS": "127.0.0.1",
            "N8N_HOST": "127.0.0.1",
            "N8N_PORT": str(port),
            "N8N_RUNNERS_BROKER_PORT": str(free_port()),
            "N8N_SECURE_COOKIE": "false",
            "N8N_WEBHOOK_URL": self.url,
        }
        self._program = Program([self._node, self._n8n, "start"], environ, self.log)
        self.client = httpx.AsyncClient(base_url=self.url, timeout=30, headers={"browser-id": "tests"})

    # -- as a program

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._program.pid

    async def version(self) -> str:
        """Return its version."""
        return (await self._command("--version")).split()[-1]

    async def start(self) -> None:
        """Start it, and do not wait."""
        await self._program.start()

    async def ready(self) -> None:
        """Return once it takes work."""

        async def is_ready() -> bool:
            if not self._program.is_running:
                raise RuntimeError(f"n8n has ended: {self.log.read_text()[-2000:]}")
            with contextlib.suppress(httpx.TransportError):
                return (await self.client.get("/healthz/readiness")).status_code == httpx.codes.OK
            return False

        await until(is_ready, "n8n is ready", timeout_s=90)

    async def started(self) -> None:
        """Start it and return once it takes work."""
        await self.start()
        await self.ready()

    async def stopped(self) -> None:
        """Stop it as `systemctl stop` would."""
        await self._program.end()

    async def killed(self) -> None:
        """End it without warning."""
        await self._program.end(signal.SIGKILL)

    async def close(self) -> None:
        """End it for good."""
        await self.client.aclose()
        await self.killed()

    async def _command(self, *words: str) -> str:
        return await output([self._node, self._n8n, *words], self._program.environ)

    # -- as its users see it

    async def set_up(self, api_key: str) -> None:
        """Make the owner's account, and the credential that the workflows ask for."""
        names = {"firstName": "Ada", "lastName": "Lovelace"}
        await self._asked("POST", "/owner/setup", json={**_OWNER, **names})
        data = {"name": "X-API-Key", "value": api_key}
        credential = {"name": "Halley API key", "type": "httpHeaderAuth", "data": data}
        await self._asked("POST", "/credentials", json=credential)

    async def add(self, *workflows: Workflow) -> None:
        """Import workflows, one file each, by `n8n import:workflow`."""
        for workflow in workflows:
            file = self._folder / f"{workflow['id']}.json"
            file.write_text(json.dumps(workflow), encoding="utf-8")
            printed = await self._command("import:workflow", f"--input={file}")
            if "Successfully imported 1 workflow" not in printed:
                raise RuntimeError(printed)

    async def workflow(self, workflow_id: str) -> Workflow:
        """Return a workflow as n8n keeps it."""
        return dict(await self._asked("GET", f"/workflows/{workflow_id}"))

    async def publish(self, workflow_id: str) -> str:
        """Make a workflow active and return its production URL, once it is registered."""
        workflow = await self.workflow(workflow_id)
        await self._asked("POST", f"/workflows/{workflow_id}/activate", json={"versionId": workflow["versionId"]})
        trigger = next(node for node in workflow["nodes"] if node["type"] == "n8n-nodes-base.webhook")
        url = f"{self.url}/webhook/{trigger['parameters']['path']}"

        async def is_registered() -> bool:
            return "not registered for GET" in (await self.client.get(url)).text

        await until(is_registered, f"{url} is registered")
        return url

    async def click(self, workflow_id: str) -> str:
        """Execute a workflow as the editor's button does; returns the execution's number."""
        trigger = {"name": "When clicking ‘Execute workflow’"}  # noqa: RUF001 - n8n's own quotation marks
        started = await self._asked("POST", f"/workflows/{workflow_id}/run", json={"triggerToStartFrom": trigger})
        return str(started["executionId"])

    async def stop(self, execution_id: str) -> None:
        """Stop an execution as the button in the list of executions does."""
        await self._asked("POST", f"/executions/{execution_id}/stop", json={})

    async def executions(self, workflow_id: str) -> list[dict[str, Any]]:
        """Return all executions of a workflow, without their data."""
        query = {"filter": json.dumps({"workflowId": workflow_id}), "limit": "100"}
        return list((await self._asked("GET", "/executions", params=query))["results"])

    async def statuses(self, workflow_id: str) -> list[str]:
        """Return the states of a workflow's executions, sorted."""
        return sorted(each["status"] for each in await self.executions(workflow_id))

    async def data(self, execution_id: str) -> dict[str, Any]:
        """Return all that n8n keeps of an execution."""
        return dict(unflattened((await self._asked("GET", f"/executions/{execution_id}"))["data"]))

    async def items(self, execution_id: str, step: str) -> list[dict[str, Any]]:
        """Return what a step of an execution gave; nothing if it was not reached."""
        return _items((await self.data(execution_id))["resultData"], step)

    async def resume_url(self, execution_id: str) -> str:
        """Return what `$execution.resumeUrl` is in an execution."""
        token = (await self.data(execution_id))["resumeToken"]
        return f"{self.url}/webhook-waiting/{execution_id}?signature={token}"

    async def ended(self, workflow_id: str, count: int, timeout_s: float = 150.0) -> list[Ended]:
        """Return what became of a workflow's executions, once so many have ended."""

        async def are_over() -> bool:
            return len([word for word in await self.statuses(workflow_id) if word in _OVER]) >= count

        await until(are_over, f"{count} executions of {workflow_id} have ended", timeout_s)
        return [await self._ended(each) for each in await self.executions(workflow_id)]

    async def _ended(self, execution: dict[str, Any]) -> Ended:
        result = (await self.data(execution["id"]))["resultData"]
        used = next(iter(_items(result, "Use the video")), {})
        error = (result.get("error") or {}).get("message", "")
        return Ended(id=execution["id"], status=execution["status"], mode=execution["mode"], error=error, **used)

    async def _asked(self, method: str, path: str, **words: Any) -> Any:
        answer = await self.client.request(method, f"/rest{path}", **words)
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json().get("data")


def _items(result: dict[str, Any], step: str) -> list[dict[str, Any]]:
    made = result["runData"].get(step)
    return [item["json"] for item in made[0]["data"]["main"][0]] if made else []


async def until(is_so: Callable[[], Awaitable[bool]], what: str, timeout_s: float = 60.0) -> None:
    """Return once something is so; others' programs can only be asked again and again."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await is_so():  # noqa: ASYNC110 - nobody tells us
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise RuntimeError(f"not within {timeout_s:g} s: {what}") from None


def unflattened(text: str) -> Any:
    """Read n8n's notation of an execution's data: a list of values in which texts inside others are indexes."""
    cells: list[Any] = json.loads(text)
    known: dict[int, Any] = {}

    def value(index: int) -> Any:
        if index not in known:
            known[index] = cell = cells[index]
            if isinstance(cell, dict):
                known[index] = whole = {}
                whole.update({name: meant(part) for name, part in cell.items()})
            elif isinstance(cell, list):
                known[index] = parts = []
                parts.extend(meant(part) for part in cell)
        return known[index]

    def meant(part: Any) -> Any:
        return value(int(part)) if isinstance(part, str) else part

    return value(0)
