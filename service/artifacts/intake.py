"""The files that come with one start: taken in as they arrive, and dropped again unless the start stands."""

from types import TracebackType
from typing import Self

from service.artifacts.files import Files
from service.artifacts.vault import Source


class Intake:
    """Takes in the files of one request. An asynchronous context manager.

    Args:
        files: Where they go.
        workspace: Whose they are.
    """

    def __init__(self, files: Files, workspace: str) -> None:
        self._files = files
        self._workspace = workspace
        self._is_settled = False
        self.hashes: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_settled:
            for file_id in self.hashes:
                await self._files.remove(self._workspace, file_id)

    async def take(self, data: Source, name: str | None = None) -> str:
        """Take a file in and return its id; its hash, which equal files share, stands in `hashes`."""
        record = await self._files.add(self._workspace, data, name)
        self.hashes[record.id] = record.sha256
        return record.id

    def settle(self) -> None:
        """Let the files stay."""
        self._is_settled = True
