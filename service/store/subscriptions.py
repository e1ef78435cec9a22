"""Endpoints as the store keeps them: the verbs, no SQL."""

from collections.abc import Callable, Sequence
from typing import Protocol

from service.lifecycle.endpoint import Endpoint, EndpointChange

DecideEndpoint = Callable[[Endpoint], EndpointChange | None]


class Subscriptions(Protocol):
    """Who subscribes to events."""

    async def add_endpoint(self, endpoint: Endpoint) -> Endpoint:
        """Keep an endpoint; returns it, or the one that is there already for the same events at the same URL."""

    async def endpoint(self, endpoint_id: str) -> Endpoint | None:
        """Return an endpoint."""

    async def endpoints_by_id(self, endpoint_ids: Sequence[str]) -> list[Endpoint]:
        """Return those of the endpoints that are there."""

    async def endpoints(
        self, workspace: str, *, url_hash: str | None = None, before: str | None = None, limit: int = 50
    ) -> list[Endpoint]:
        """List the endpoints of a workspace, newest first."""

    async def all_endpoints(self, after: str, limit: int) -> list[Endpoint]:
        """List the endpoints of all workspaces by their ids, those after one; "" is before all of them."""

    async def change_endpoint(self, endpoint_id: str, decide: DecideEndpoint) -> EndpointChange | None:
        """Apply a fact to an endpoint, with its events; returns what changed, or None.

        Raises:
            StoreError: Another endpoint is the same as this one would be.
        """

    async def delete_endpoint(self, workspace: str, endpoint_id: str) -> None:
        """Forget an endpoint, if it is there."""

    async def due_endpoints(self, now: float, limit: int) -> list[Endpoint]:
        """Return the endpoints that must be looked at."""

    async def progress_wanted(self) -> frozenset[str]:
        """Return the workspaces of which an endpoint wants to hear every step of a progress; `*` stands for all."""
