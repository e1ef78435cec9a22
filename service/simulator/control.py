"""The control surface under `/_simulator/`: what was received, what was created, and a fresh start.

For tests in another process and for people; it is no part of the simulated upstream.
"""

from aiohttp import web

from service.simulator.aggregator import json_answer
from service.simulator.marks import MARKS
from service.simulator.stage import Stage


class Control:
    """Serves the control surface of one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def routes(self) -> list[web.RouteDef]:
        """List the control routes."""
        return [
            web.get("/_simulator/requests", self._requests),
            web.get("/_simulator/submissions", self._submissions),
            web.get("/_simulator/tasks", self._tasks),
            web.get("/_simulator/marks", self._marks),
            web.post("/_simulator/reset", self._reset),
        ]

    async def _requests(self, request: web.Request) -> web.Response:
        wanted = request.query.get("external_task_id")
        entries = self._stage.journal.all()
        return json_answer([entry for entry in entries if wanted in (None, entry.external_task_id)])

    async def _submissions(self, request: web.Request) -> web.Response:
        external_id = request.query.get("external_task_id", "")
        count = len(self._stage.tasks.by_external_id(external_id))
        return json_answer({"external_task_id": external_id, "submissions": count})

    async def _tasks(self, _request: web.Request) -> web.Response:
        return json_answer(self._stage.tasks.all())

    async def _marks(self, _request: web.Request) -> web.Response:
        return json_answer([{"mark": mark.usage, "meaning": mark.meaning} for mark in MARKS])

    async def _reset(self, _request: web.Request) -> web.Response:
        await self._stage.reset()
        return json_answer({"reset": True})
