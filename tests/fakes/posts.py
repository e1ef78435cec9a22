"""A job of two processes, one of which hangs: `python -m tests.fakes.posts`. A program of its own, since it forks.

The first process at the post says `began`, does what the first line of standard input tells (a line of Python), and
works on; the one that comes after it says `replaced`. The other post is steady. At the end it says `stopped`.
"""

import asyncio
import os
import sys

from service.log import silent_log
from service.supervisor import Line, Post, Report, Supervisor

SILENT_S = 1.0


async def _work(line: Line, word: str, hang: str) -> None:
    stop = asyncio.Event()
    with line.telling(stop):
        _say(word)
        line.report(Report(facts={"word": word}))
        await asyncio.sleep(0.3)
        exec(hang)  # noqa: S102 - of the test
        await stop.wait()


def _say(word: str) -> None:
    os.write(sys.stdout.fileno(), f"{word}\n".encode())  # whole, beside what the other process says


def main() -> None:
    """Keep both processes until a signal."""
    hang = sys.stdin.readline()

    def shaky(line: Line, before: Report | None) -> None:
        asyncio.run(_work(line, "replaced" if before else "began", "" if before else hang))

    def steady(line: Line, before: Report | None) -> None:
        asyncio.run(_work(line, "steady again" if before else "steady", ""))

    posts = [Post(name="shaky", work=shaky), Post(name="steady", work=steady)]
    Supervisor(posts, silent_log(), silent_s=SILENT_S).run(lambda _: None, lambda: None)
    _say("stopped")


if __name__ == "__main__":
    main()
