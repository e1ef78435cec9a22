"""What n8n answers to an event in each state of an execution, and what the profiles make of it."""

import asyncio
import contextlib
from importlib import metadata
from typing import Any

import httpx
from msgspec import Struct

from service.delivery.profiles import profile_of, understood
from tests.n8n.instance import N8n, Workflow, until
from tests.n8n.report import Row, row
from tests.n8n.workflows import chain, hook, wait

_WORDS = 90
_SENDER = {"User-Agent": f"Halley/{metadata.version('halley')}"}


class Answer(Struct, frozen=True):
    """What n8n said."""

    status: int
    text: str

    def means(self, profile: str) -> str:
        """Return what a profile makes of it."""
        return understood(profile_of(profile), self.status, self.text)[0]


def answer_workflows() -> list[Workflow]:
    """Return flows that work, wait for an event and end well or badly, one that is off, and one that takes no bots."""
    end = {"type": "n8n-nodes-base.stopAndError", "typeVersion": 1, "parameters": {"errorMessage": "as asked"}}
    no_bots = chain("no-bots", {"begin": hook("no-bots", ignoreBots=True)})
    return [_flow("ends-well", None), _flow("ends-badly", end), _flow("is-off", None), no_bots]


def _flow(name: str, end: dict[str, Any] | None) -> Workflow:
    steps = {
        "begin": hook(name),
        "work": wait(amount=3, unit="seconds"),
        "wait": wait(resume="webhook", httpMethod="POST", responseMode="onReceived"),
        "end": end or {"type": "n8n-nodes-base.noOp", "typeVersion": 1, "parameters": {}},
    }
    return chain(name, steps)


class Asker:
    """Starts executions and sends them events."""

    def __init__(self, n8n: N8n) -> None:
        self.n8n = n8n
        self.rows: list[Row] = []

    async def begun(self, workflow_id: str) -> tuple[str, str]:
        """Start an execution; returns its number and its resume URL."""
        before = {each["id"] for each in await self.n8n.executions(workflow_id)}
        (await self.n8n.client.post(f"/webhook/{workflow_id}", json={})).raise_for_status()
        new: set[str] = set()

        async def is_there() -> bool:
            new.update({each["id"] for each in await self.n8n.executions(workflow_id)} - before)
            return bool(new)

        await until(is_there, f"an execution of {workflow_id} is there")
        execution_id = new.pop()
        return execution_id, await self.n8n.resume_url(execution_id)

    async def in_state(self, workflow_id: str, execution_id: str, *states: str) -> None:
        """Return once an execution is in one of some states."""

        async def is_so() -> bool:
            found = await self.n8n.executions(workflow_id)
            return any(each["id"] == execution_id and each["status"] in states for each in found)

        await until(is_so, f"execution {execution_id} is {' or '.join(states)}")

    async def say(
        self, what: str, profile: str, expected: str | tuple[str, ...], url: str, method: str = "POST"
    ) -> None:
        """Send an event and note what came of it."""
        body = None if method == "GET" else {"id": "evt_1"}
        got = await self.n8n.client.request(method, url, json=body, headers=_SENDER)
        self.note(what, profile, expected, Answer(got.status_code, got.text))

    def note(self, what: str, profile: str, expected: str | tuple[str, ...], answer: Answer) -> None:
        """Note what an answer means, and what it may mean."""
        words, meaning = " ".join(answer.text[:_WORDS].split()), answer.means(profile)
        right = meaning if isinstance(expected, tuple) and meaning in expected else expected
        self.rows.append(row("answers", f"{what}: {answer.status} {words}", right, meaning))


async def answers(n8n: N8n) -> list[Row]:
    """Bring executions into every state and send an event to each."""
    asker = Asker(n8n)
    await _lives(asker)
    await _ends(asker)
    await _hooks(asker)
    await _restart(asker)
    return asker.rows


async def _lives(asker: Asker) -> None:
    execution, url = await asker.begun("ends-well")
    await asker.say("running", "n8n-resume", "not_ready", url)
    await asker.in_state("ends-well", execution, "waiting")
    await asker.say("waits for POST, called by GET", "n8n-resume", "not_ready", url, "GET")
    await asker.say("waits, wrong signature", "n8n-resume", "gone", url[:-1] + ("0" if url[-1] != "0" else "1"))
    await asker.say("waits, no signature", "n8n-resume", "gone", url.partition("?")[0])
    await asker.say("waits", "n8n-resume", "delivered", url)
    await asker.in_state("ends-well", execution, "success")
    await asker.say("has ended well", "n8n-resume", "gone", url)


async def _ends(asker: Asker) -> None:
    n8n = asker.n8n
    execution, url = await asker.begun("ends-badly")
    await asker.in_state("ends-badly", execution, "waiting")
    await asker.say("waits, will end badly", "n8n-resume", "delivered", url)
    await asker.in_state("ends-badly", execution, "error")
    await asker.say("has ended badly", "n8n-resume", "gone", url)
    execution, url = await asker.begun("ends-well")
    await asker.in_state("ends-well", execution, "waiting")
    await n8n.stop(execution)
    await asker.in_state("ends-well", execution, "canceled")
    await asker.say("stopped by hand while it waited", "n8n-resume", "gone", url)
    await asker.say("unknown", "n8n-resume", "not_ready", f"{n8n.url}/webhook-waiting/987654?signature=0")


async def _hooks(asker: Asker) -> None:
    url = asker.n8n.url
    await asker.say("webhook, published", "n8n-webhook", "delivered", f"{url}/webhook/ends-well")
    await asker.say("webhook, wrong method", "n8n-webhook", "failed", f"{url}/webhook/ends-well", "GET")
    await asker.say("webhook, not published", "n8n-webhook", "failed", f"{url}/webhook/is-off")
    await asker.say("webhook, Ignore Bots", "n8n-webhook", "failed", f"{url}/webhook/no-bots")
    await asker.say("test URL, nobody listens", "n8n-webhook", "failed", f"{url}/webhook-test/ends-well")


async def _restart(asker: Asker) -> None:
    """Kill n8n while an execution works, and ask it all the time while it starts."""
    execution, url = await asker.begun("ends-well")
    await asker.n8n.killed()
    await asker.n8n.start()
    async with asyncio.TaskGroup() as tasks:
        ready = tasks.create_task(asker.n8n.ready())
        for answer in await _asked_until(ready, asker.n8n.url + "/webhook-waiting/987654"):
            asker.note("while it starts", "n8n-resume", "not_ready", answer)
    await asker.in_state("ends-well", execution, "crashed", "error")
    # It depends on how far it came: "has finished with error", or a fault of n8n's own.
    await asker.say("crashed while it ran", "n8n-resume", ("gone", "failed"), url)


async def _asked_until(ready: asyncio.Task[None], url: str) -> list[Answer]:
    heard: dict[tuple[int, str], Answer] = {}
    async with httpx.AsyncClient(timeout=5) as client:
        while not ready.done():
            with contextlib.suppress(httpx.TransportError):
                got = await client.post(url, json={})
                heard.setdefault((got.status_code, got.text[:40]), Answer(got.status_code, got.text))
            await asyncio.sleep(0.005)
    return list(heard.values())
