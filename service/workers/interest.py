"""Who wants to hear of every step of a progress: known by heart, since it is asked at every poll."""

from collections.abc import Awaitable, Callable

from service.lifecycle.endpoint import EVERYWHERE


class ProgressInterest:
    """The workspaces of which an endpoint wants `run.progressed`; a new one is heard of within moments.

    Args:
        wanted: Reads them from the store.
    """

    def __init__(self, wanted: Callable[[], Awaitable[frozenset[str]]]) -> None:
        self._wanted = wanted
        self._workspaces: frozenset[str] = frozenset()

    async def run_once(self) -> bool:
        """Look who is there."""
        self._workspaces = await self._wanted()
        return False

    def includes(self, workspace: str) -> bool:
        """Tell whether somebody wants to hear of a workspace's progress."""
        return workspace in self._workspaces or EVERYWHERE in self._workspaces
