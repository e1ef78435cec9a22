"""Posting callbacks: which ones a scenario asks for, when, and the client that sends them.

The simulator sends to this machine only. A callback URL that names any other host is refused and never
resolved. What a callback's body looks like is the family's matter.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from service.clock import Clock
from service.simulator.tasks import Phase, Posted, Task

POST_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 256

Render = Callable[[Task, Phase], bytes]


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One callback that is to be posted."""

    due_at: float
    phase: Phase


def posts_of(task: Task, lie_s: float) -> list[Post]:
    """List the callbacks of a task in the order in which they are posted."""
    ended_at = task.finished_at
    steps = [Post(due_at=task.entered_at(phase), phase=phase) for phase in ("submitted", "processing")]
    end = Post(due_at=ended_at, phase=task.final_phase)
    plans: dict[str, list[Post]] = {
        "changes": [*steps, end],
        "last": [end],
        "early": [end],
        "twice": [*steps, end, end],
        "lying": [*steps, Post(due_at=ended_at - lie_s, phase=end.phase)],
        "reordered": [
            end,
            *(Post(due_at=ended_at, phase=phase) for phase in ("processing", "submitted")),
        ],
        "never": [],
    }
    return plans[task.scenario.callback]


def refusal_of(callback_url: str) -> str:
    """Say why nothing is posted to a URL; empty when it leads to this machine."""
    try:
        host = URL(callback_url).host or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return "" if local else "the simulator posts to loopback addresses and localhost only"


class LoopbackResolver(AbstractResolver):
    """Knows `localhost` and nothing else; asks nobody."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the loopback addresses."""
        if host != "localhost":
            raise OSError(f"{host} is not on this machine")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=0)
            for kind, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
            if family in (kind, socket.AF_UNSPEC)
        ]

    async def close(self) -> None:
        """Release nothing."""


class CallbackPoster:
    """Posts the callbacks of tasks, each at its time, each once."""

    def __init__(self, clock: Clock, lie_s: float) -> None:
        self._clock = clock
        self._lie_s = lie_s
        self._followers: set[asyncio.Task[None]] = set()
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=LoopbackResolver(), limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=POST_TIMEOUT_S),
        )

    def follow(self, task: Task, render: Render) -> asyncio.Task[None]:
        """Post a task's callbacks in the background."""
        follower = asyncio.create_task(self._post_all(task, render))
        self._followers.add(follower)
        follower.add_done_callback(self._followers.discard)
        return follower

    async def forget(self) -> None:
        """Give up whatever is still to be posted."""
        pending = list(self._followers)
        for follower in pending:
            follower.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def close(self) -> None:
        """Give up what is still to be posted and close the client."""
        await self.forget()
        await self._client.close()

    async def _post_all(self, task: Task, render: Render) -> None:
        for post in posts_of(task, self._lie_s):
            await asyncio.sleep(post.due_at - self._clock.now())
            posted_at = self._clock.now()
            outcome = await self._post(task.callback_url, render(task, post.phase))
            task.callbacks.append(Posted(phase=post.phase, posted_at=posted_at, outcome=outcome))

    async def _post(self, url: str, body: bytes) -> int | str:
        return (await self.ask(url, body))[0]

    async def ask(self, url: str, body: bytes) -> tuple[int | str, bytes]:
        """Post once, at once; returns the answer's status, or the error's name, and its body."""
        headers = {"Content-Type": "application/json; charset=utf-8"}
        try:
            async with self._client.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return type(error).__name__, b""
