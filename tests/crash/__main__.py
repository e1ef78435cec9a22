"""The long form: kills at random moments and at random steps, as many as wanted; prints its seeds and figures.

`make crash ARGS="--kills 1000 --seed 7"`; `--postgres` does so on PostgreSQL.
"""

import asyncio
import contextlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from tests.crash.load import Callers, client_of
from tests.crash.promises import Court, Verdict
from tests.crash.steps import RUN_STEPS, Fuse
from tests.crash.trial import Trial
from tests.crash.world import UPSTREAM_STEPS, World, world
from tests.fakes.postgres import PostgresServer, postgres_server

_LONGEST_LIFE_S = 1.2
_MOST_PASSES = 6
_CALLERS = 3
_PAUSE_S = 0.3
_PATIENCE_S = 120.0
_WHOLE_TRIAL_S = 5.0  # for each kill, and more at the end


@click.command()
@click.option("--kills", type=click.IntRange(1), default=200, show_default=True, help="Kills in all.")
@click.option("--seed", type=int, help="Makes the choices the same again; a new one by default.")
@click.option("--parallel", type=click.IntRange(1, 2), default=2, show_default=True, help="Data folders at a time.")
@click.option("--postgres", is_flag=True, help="On a PostgreSQL server of its own, in place of files.")
def command(kills: int, seed: int | None, parallel: int, *, postgres: bool) -> None:
    """Kill Halley again and again while it works, and check what it promises."""
    seed = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    folder = Path(tempfile.mkdtemp(prefix="halley-crash-"))
    shares = [kills // parallel + (n < kills % parallel) for n in range(parallel)]
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgres_server()) if postgres else None
        trials = [_tried(folder / str(seed + n), seed + n, share, server) for n, share in enumerate(shares) if share]
        broken = [fault for faults in asyncio.run(_all(trials)) for fault in faults]
    if broken:
        raise click.ClickException(f"{len(broken)} promises were broken; the data folders are kept in {folder}")
    shutil.rmtree(folder)
    click.echo("Every promise was kept.")


async def _all(trials: list[Coroutine[Any, Any, list[str]]]) -> list[list[str]]:
    return await asyncio.gather(*trials)


async def _tried(folder: Path, seed: int, kills: int, server: PostgresServer | None) -> list[str]:
    chance, begun_at = random.Random(seed), time.monotonic()
    async with asyncio.timeout(kills * _WHOLE_TRIAL_S + 3 * _PATIENCE_S), world() as around:
        words = {"HALLEY_DATABASE_URL": await server.database()} if server else {}
        trial = Trial(folder, around.upstream.url, **words)
        reached = 0
        async with client_of(trial.url) as client:
            callers = Callers(client, around.ear.url, chance, str(seed))
            async with callers.calling(_CALLERS, _PAUSE_S):
                for _ in range(kills):
                    reached += await _killed_somewhere(trial, around, chance)
                await trial.started()
            verdict = await Court(trial, around, client, callers.starts, callers.groups).verdict(_PATIENCE_S)
        await trial.killed()
    _tell(seed, kills, reached, len(callers.starts), verdict, time.monotonic() - begun_at)
    return verdict.broken


async def _killed_somewhere(trial: Trial, around: World, chance: random.Random) -> bool:
    """Start a server and end it: at a step of the store, at one of its peers, or at any moment."""
    passes, longest_s = chance.randint(1, _MOST_PASSES), chance.uniform(0.0, _LONGEST_LIFE_S)
    way = chance.choice(("store", "peer", "moment", "moment"))
    if way == "store":
        trial.start(f"{chance.choice(RUN_STEPS)}:{passes}")
        longest_s = _LONGEST_LIFE_S
    else:
        server = trial.start()
        if way == "peer":
            around.set_fuse(Fuse(f"{chance.choice(UPSTREAM_STEPS)}:{passes}", server.kill))
            longest_s = _LONGEST_LIFE_S
    is_reached = await trial.ended(longest_s)
    around.set_fuse()
    return is_reached


def _tell(seed: int, kills: int, reached: int, starts: int, verdict: Verdict, took_s: float) -> None:
    states = ", ".join(f"{n} {state}" for state, n in sorted(verdict.states.items()))
    click.echo(
        f"seed {seed}: {kills} kills in {took_s:.0f} s, {reached} of them at a named step\n"
        f"  {starts} starts, {sum(verdict.states.values())} runs with the steps of flows: {states}\n"
        f"  {verdict.unknown_before} runs were of unknown outcome once, {verdict.unknown_now} still are\n"
        f"  {verdict.submissions} submissions received upstream; {verdict.events} events received,"
        f" and {verdict.repeated_deliveries} repetitions\n"
        f"  {len(verdict.broken)} broken promises"
    )
    for fault in verdict.broken[:50]:
        click.echo(f"  BROKEN: {fault}", err=True)


if __name__ == "__main__":
    sys.exit(command())
