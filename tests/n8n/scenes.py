"""Stories of whole flows: started in n8n, generated upstream, told to n8n, whatever is killed in the middle.

Each counts executions, runs, submissions upstream and events, which must be the same number.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable

from msgspec import Struct

from tests.crash.world import Upstream
from tests.n8n.halley import Halley
from tests.n8n.instance import Ended, N8n, Workflow, until
from tests.n8n.report import Row, row
from tests.n8n.workflows import in_production, node, settled, shipped, with_wait

VIDEO, EVENTS = "generate-video", "every-finished-run"
_CLICKED = "halleyVideo00001"
_SUBSCRIBED = "halleyEvents0001"
_TAKES_S = 5
_CLICKS = 2
_DROPPED = "answered 200 and then marked as crashed by n8n, which was starting (its own fault)"


class Stage(Struct, frozen=True, kw_only=True):
    """All that plays.

    Attributes:
        n8n: The real n8n.
        halley: The real Halley.
        upstream: The simulator, which counts submissions.
        times: How many flows a scene starts.
    """

    n8n: N8n
    halley: Halley
    upstream: Upstream
    times: int

    async def start(self, scene: str, words: str = "", times: int | None = None) -> None:
        """Start flows of a scene through their production URL."""
        for n in range(self.times if times is None else times):
            prompt = f"probe-{scene}-{n} [[duration:{_TAKES_S}]] {words}"
            answer = await self.n8n.client.post(f"/webhook/{scene}", json={"prompt": prompt})
            answer.raise_for_status()

    async def waiting(self, scene: str) -> None:
        """Return once all executions of a scene wait."""

        async def do_wait() -> bool:
            return await self.n8n.statuses(scene) == ["waiting"] * self.times

        await until(do_wait, f"the executions of {scene} wait")

    async def upstream_done(self, scene: str) -> None:
        """Return once upstream has generated all videos of a scene, whether anybody was told or not."""
        await asyncio.sleep(_TAKES_S + 1)
        assert len([each for each in self.upstream.submissions if f"probe-{scene}-" in each.marker]) == self.times

    async def over(self, scene: str) -> None:
        """Return once all runs of a scene have ended."""

        async def have_ended() -> bool:
            return len(await self.halley.events(f"probe-{scene}-")) == self.times

        await until(have_ended, f"the runs of {scene} have ended", 120)

    async def attempted(self, scene: str, outcome: str, count: int) -> None:
        """Return once so many delivery attempts of a scene had an outcome."""

        async def are_made() -> bool:
            made = await self.halley.attempts(f"probe-{scene}-")
            return len([each for each in made if each["outcome"] == outcome]) >= count

        await until(are_made, f"{count} attempts of {scene} are {outcome}", 120)

    async def counts(self, scene: str, ended: list[Ended], *, n8n_started: bool = False) -> list[Row]:
        """Compare the numbers of a scene that ends well.

        Args:
            scene: Its name.
            ended: Its executions.
            n8n_started: n8n came up while events were sent. It takes them before it looks for what crashed, and may
                then mark what it has just resumed; those are told, not held against Halley, which was answered 200.
        """
        marker = f"probe-{scene}-"
        runs, events = await self.halley.runs(marker), await self.halley.events(marker)
        attempts = await self.halley.attempts(marker)
        submitted = [each for each in self.upstream.submissions if each.marker.startswith(marker)]
        videos = {run["id"]: run["artifacts"][0]["url"] for run in runs if run["artifacts"]}
        dropped = len([each for each in ended if each.status == "crashed"]) if n8n_started else 0
        good = {each.run: each.video for each in ended if each.status == "success"}
        return [
            row(scene, "executions; successful", [self.times, self.times - dropped], [len(ended), len(good)]),
            row(scene, "runs; submissions upstream", [self.times] * 2, [len(runs), len(submitted)]),
            row(scene, "events; deliveries", [self.times] * 2, [len(events), _count(attempts, "delivered")]),
            row(scene, "each ended with the video of its run", True, good.items() <= videos.items()),
            *([row(scene, _DROPPED, dropped, dropped)] if dropped else []),
        ]


Scene = Callable[[Stage], Awaitable[list[Row]]]


def all_workflows(stage: Stage) -> list[Workflow]:
    """Return every workflow that the scenes need: the shipped ones, and copies that a webhook starts."""
    video = settled(shipped(VIDEO), halley=stage.halley.url)
    copies = {
        scene: in_production(video, scene)
        for scene in (*_PLAIN, "fails", "too-late", "still-running", "elsewhere", "two-waits")
    }
    node(copies["too-late"], "Wait for the end")["parameters"] |= {"resumeAmount": 2, "resumeUnit": "seconds"}
    copies["still-running"] = with_wait(copies["still-running"], resume="timeInterval", amount=9, unit="seconds")
    copies["elsewhere"] = with_wait(copies["elsewhere"], resume="webhook", httpMethod="GET", responseMode="onReceived")
    copies["two-waits"] = _with_suffix(with_wait(copies["two-waits"], resume="webhook", httpMethod="POST"))
    return [video, *copies.values()]


def _with_suffix(workflow: Workflow) -> Workflow:
    """Do what the page says of a second *Wait* node on POST."""
    node(workflow, "Wait for the end")["parameters"]["options"] = {"webhookSuffix": "halley"}
    headers = node(workflow, "Start the video")["parameters"]["headerParameters"]["parameters"]
    next(each for each in headers if each["name"] == "Halley-Webhook-Url")["value"] += "/halley"
    return workflow


_PLAIN = ("as-shipped", "halley-killed", "halley-absent", "n8n-stopped", "n8n-killed")


async def clicked(stage: Stage) -> list[Row]:
    """The shipped workflow, with nothing changed but Halley's address: a run of `mode=mock`."""
    await stage.n8n.click(_CLICKED)
    ended = (await stage.n8n.ended(_CLICKED, 1))[0]
    runs = await stage.halley.runs("A comet")
    return [
        row("clicked", "execution, runs", ["success", 1], [ended.status, len(runs)]),
        row("clicked", "the execution's video is the run's", runs[0]["artifacts"][0]["url"], ended.video),
        row("clicked", "nothing was spent", 0, len([s for s in stage.upstream.submissions if b"A comet" in s.body])),
    ]


async def as_shipped(stage: Stage) -> list[Row]:
    """Nothing goes wrong."""
    await stage.start("as-shipped")
    return await stage.counts("as-shipped", await stage.n8n.ended("as-shipped", stage.times))


async def halley_killed(stage: Stage) -> list[Row]:
    """Halley is killed while upstream generates, and comes back after all callbacks went into the void."""
    await stage.start("halley-killed")
    await stage.waiting("halley-killed")
    await stage.halley.killed()
    await stage.upstream_done("halley-killed")
    await stage.halley.started()
    return await stage.counts("halley-killed", await stage.n8n.ended("halley-killed", stage.times))


async def halley_absent(stage: Stage) -> list[Row]:
    """Halley is not there when the flows start: the step tries again, and nothing is started twice."""
    await stage.halley.killed()
    await stage.start("halley-absent")
    await stage.halley.started()
    return await stage.counts("halley-absent", await stage.n8n.ended("halley-absent", stage.times))


async def n8n_stopped(stage: Stage) -> list[Row]:
    """n8n is stopped while its executions wait, and is not there when the runs end."""
    return await _n8n_away(stage, "n8n-stopped", stage.n8n.stopped)


async def n8n_killed(stage: Stage) -> list[Row]:
    """The same without a chance to say goodbye."""
    return await _n8n_away(stage, "n8n-killed", stage.n8n.killed)


async def _n8n_away(stage: Stage, scene: str, leave: Callable[[], Awaitable[None]]) -> list[Row]:
    await stage.start(scene)
    await stage.waiting(scene)
    await leave()
    await stage.over(scene)
    await stage.attempted(scene, "unreachable", stage.times)
    await stage.n8n.started()
    return await stage.counts(scene, await stage.n8n.ended(scene, stage.times), n8n_started=True)


async def still_running(stage: Stage) -> list[Row]:
    """The event comes while the execution works on something else: 409."""
    return await _too_early(stage, "still-running", 409)


async def elsewhere(stage: Stage) -> list[Row]:
    """The event comes while the execution waits for somebody's approval by GET: 404."""
    return await _too_early(stage, "elsewhere", 404)


async def two_waits(stage: Stage) -> list[Row]:
    """The same where that approval is a POST as well, and the event goes to the suffix of its own node."""
    return await _too_early(stage, "two-waits", 404, "POST")


async def _too_early(stage: Stage, scene: str, status: int, approved_by: str = "GET") -> list[Row]:
    await stage.start(scene)
    await stage.attempted(scene, "not_ready", stage.times)
    if status == 404:
        await _approve(stage.n8n, scene, approved_by)
    ended = await stage.n8n.ended(scene, stage.times)
    attempts = await stage.halley.attempts(f"probe-{scene}-")
    early = {each["status"] for each in attempts if each["outcome"] == "not_ready"}
    return [row(scene, "answers that came too early", {status}, early & {status}), *await stage.counts(scene, ended)]


async def _approve(n8n: N8n, scene: str, method: str) -> None:
    for execution in await n8n.executions(scene):
        (await n8n.client.request(method, await n8n.resume_url(execution["id"]))).raise_for_status()


async def fails(stage: Stage) -> list[Row]:
    """A generation that fails ends the flow with Halley's words."""
    await stage.start("fails", "[[moderation]]", times=1)
    ended = (await stage.n8n.ended("fails", 1))[0]
    run = (await stage.halley.runs("probe-fails-"))[0]
    return [
        row("fails", "execution, run", ["error", "failed"], [ended.status, run["state"]]),
        row("fails", "the flow says what Halley says", run["error"]["message"], ended.error),
    ]


async def too_late(stage: Stage) -> list[Row]:
    """The time limit passes first: the flow says so, and the event that comes later is not sent for ever.

    n8n looks for limits that have passed once a minute.
    """
    scene = "too-late"
    await stage.start(scene, "[[duration:600]]", times=1)
    ended = (await stage.n8n.ended(scene, 1))[0]
    run = (await stage.halley.runs(f"probe-{scene}-"))[0]
    (await stage.halley.client.post(f"/v1/runs/{run['id']}/cancel")).raise_for_status()
    await stage.attempted(scene, "gone", 1)
    attempts = [(each["status"], each["outcome"]) for each in await stage.halley.attempts(f"probe-{scene}-")]
    where = f"error No event came in time. The run: {run['status_url']}"
    return [
        row(scene, "the flow says where to look", where, f"{ended.status} {ended.error}"),
        row(scene, "attempts after that", [(409, "gone")], attempts),
    ]


async def subscribed(stage: Stage) -> list[Row]:
    """One subscription, made by the shipped workflow itself; n8n and Halley are away for a while, each once."""
    n8n, halley, scene = stage.n8n, stage.halley, "subscribed"
    url = await _subscription(stage)
    both = Stage(n8n=n8n, halley=halley, upstream=stage.upstream, times=2 * stage.times)
    await _generated(stage, range(stage.times))
    await n8n.ended(_SUBSCRIBED, _CLICKS + stage.times)
    await n8n.killed()
    await _generated(stage, range(stage.times, both.times))
    await stage.attempted(scene, "unreachable", stage.times)
    await halley.killed()
    await n8n.started()
    await halley.started()
    ended = await n8n.ended(_SUBSCRIBED, _CLICKS + both.times)
    listed = (await halley.client.get("/v1/endpoints", params={"url": url})).json()["data"]
    return [
        row(scene, "subscriptions of the URL after two clicks", 1, len(listed)),
        *await both.counts(scene, [each for each in ended if each.mode == "webhook"], n8n_started=True),
    ]


async def _generated(stage: Stage, numbers: range) -> None:
    for n in numbers:
        await stage.halley.start(f"probe-subscribed-{n} [[duration:1]]")


async def _subscription(stage: Stage) -> str:
    """Do what the page says: a path of its own, publish, copy the production URL, click twice."""
    path = secrets.token_urlsafe()
    url = f"{stage.n8n.url}/webhook/{path}"
    workflow = settled(shipped(EVENTS), halley=stage.halley.url, production_url=url)
    node(workflow, "Run succeeded").update(webhookId=path)
    node(workflow, "Run succeeded")["parameters"]["path"] = path
    await stage.n8n.add(workflow)
    await stage.n8n.publish(_SUBSCRIBED)
    for clicks in range(1, _CLICKS + 1):
        await stage.n8n.click(_SUBSCRIBED)
        await stage.n8n.ended(_SUBSCRIBED, clicks)
    return url


def _count(attempts: list[dict[str, object]], outcome: str) -> int:
    return len([each for each in attempts if each["outcome"] == outcome])


SCENES: tuple[Scene, ...] = (
    clicked,
    as_shipped,
    halley_killed,
    halley_absent,
    n8n_stopped,
    n8n_killed,
    still_running,
    elsewhere,
    two_waits,
    fails,
    too_late,
    subscribed,
)
