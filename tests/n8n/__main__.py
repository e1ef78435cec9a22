"""Plays all scenes and prints what was checked: `python -m tests.n8n FOLDER`, where FOLDER has n8n installed."""

import asyncio
import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path

import click

from tests.crash.world import Upstream
from tests.fakes.house import API_KEY
from tests.n8n.answers import answer_workflows, answers
from tests.n8n.halley import Halley
from tests.n8n.instance import N8n
from tests.n8n.pages import PAGE_SCENES, page_workflows
from tests.n8n.report import Row, row, table
from tests.n8n.scenes import EVENTS, SCENES, VIDEO, Scene, Stage, all_workflows
from tests.n8n.vocabulary import kept, vocabulary_of
from tests.n8n.workflows import shipped

_SHIPPED = (shipped(VIDEO), shipped(EVENTS))


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--times", type=click.IntRange(1, 50), default=5, show_default=True, help="Flows in each scene.")
@click.option("--only", multiple=True, help="Names of scenes, in place of all.")
def command(folder: Path, times: int, only: tuple[str, ...]) -> None:
    """Play the workflows of the documentation in the n8n that is installed in FOLDER."""
    data = Path(tempfile.mkdtemp(prefix="halley-n8n-"))
    rows = asyncio.run(_played(folder, data, times, only))
    click.echo(table(rows))
    if not all(each.is_good for each in rows):
        raise click.ClickException(f"not all was as it should be; data and logs are kept in {data}")
    shutil.rmtree(data)
    click.echo(f"All {len(rows)} were as they should be.")


async def _played(folder: Path, data: Path, times: int, only: tuple[str, ...]) -> list[Row]:
    async with Upstream() as upstream, contextlib.AsyncExitStack() as stack:
        halley, n8n = Halley(data, upstream.url), N8n(folder, data)
        stack.push_async_callback(halley.close)
        stack.push_async_callback(n8n.close)
        click.echo(f"n8n {await n8n.version()}, Halley, simulated upstream; {times} flows in each scene")
        await asyncio.gather(halley.started(), n8n.started())
        await n8n.set_up(API_KEY)
        stage = Stage(n8n=n8n, halley=halley, upstream=upstream, times=times)
        words = row("imported", "n8n has these nodes and parameters", True, vocabulary_of(folder, _SHIPPED) == kept())
        return [words, *await _imported(stage), *await _scenes(stage, only)]


async def _imported(stage: Stage) -> list[Row]:
    workflows = [*all_workflows(stage), *page_workflows(stage), *answer_workflows()]
    await stage.n8n.add(*workflows)
    kept = await stage.n8n.workflow(workflows[0]["id"])
    credential = next(each["credentials"]["httpHeaderAuth"] for each in kept["nodes"] if each.get("credentials"))
    for workflow in workflows[1:]:
        if workflow["id"] != "is-off":
            await stage.n8n.publish(workflow["id"])
    return [row("imported", "the credential of that name was found", True, bool(credential["id"]))]


async def _scenes(stage: Stage, only: tuple[str, ...]) -> list[Row]:
    rows: list[Row] = []
    for scene in (*SCENES, *PAGE_SCENES):
        if not only or scene.__name__ in only:
            begun = time.monotonic()
            rows += await _told(scene, stage)
            click.echo(f"{scene.__name__}: {time.monotonic() - begun:.0f} s")
    if not only or "answers" in only:
        rows += await answers(stage.n8n)
    return rows


async def _told(scene: Scene, stage: Stage) -> list[Row]:
    """Play a scene; one that is stuck leaves the others their turn."""
    try:
        return await scene(stage)
    except RuntimeError as stuck:
        return [row(scene.__name__, "comes to its end", "", stuck)]


if __name__ == "__main__":
    sys.exit(command())
