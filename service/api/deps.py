"""What handlers are given: the services, made once in `app.py` and kept in the application's state."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from msgspec import Struct

from service.api.auth import Caller, KeyRing
from service.api.limits import Inbound
from service.api.scopes import needed_scope
from service.artifacts.files import Files
from service.artifacts.links import Links
from service.artifacts.materials import Materials
from service.artifacts.vault import Vault
from service.clock import Clock
from service.definitions.catalog import Catalog
from service.delivery.courier import Courier
from service.egress import EgressGuard
from service.lifecycle.run import Mode
from service.log import Log
from service.metrics import Metrics
from service.sealing import Sealer
from service.store.base import Store
from service.upstream.client import UpstreamClient
from service.upstream.key_check import KeyWatch
from service.workers.live import LiveAnswers
from service.workers.switchboard import Switchboard


class RelayLimits(Struct, frozen=True, kw_only=True):
    """How long a relayed WebSocket may be open without a message, and at all, in seconds."""

    idle_s: float = 300.0
    whole_s: float = 1800.0


class Services(Struct, frozen=True, kw_only=True):
    """Everything that handlers may use.

    Attributes:
        store: Where runs are.
        catalog: The nodes.
        keys: Tells who calls.
        switchboard: Wakes who waits.
        courier: Sends an event to an endpoint.
        live: Hears answers while they come.
        clients: Upstream by mode.
        guard: Judges literal addresses in webhook URLs.
        metrics: Counters.
        clock: The time.
        log: Structured log.
        vault: Bytes that Halley keeps.
        files: Uploads.
        links: Makes and checks links to what is in the vault.
        sealer: Seals webhook URLs.
        public_keys: Tells the public keys that a workspace's events are signed under, the current one first.
        inbound: Counts what strangers try.
        materials: Make ready what runs bring along, by mode.
        upstream_url: Base URL of the aggregator, shown in previews.
        public_url: Where the outside reaches Halley, if anywhere.
        can_run_live: An upstream key is there.
        can_run_mock: A simulated upstream is there.
        key_watch: Knows whether the upstream key is good.
        data_dir: Folder of the database and of files.
        wait_cap_s: Longest wait in one request.
        keep_alive_s: Longest silence in a stream of events.
        stream_cap_s: How long a stream of events may last; whoever listens comes back.
        relay_limits: How long a relayed WebSocket may be open.
        openapi: Gives the API document; made when it is first asked for.
        asyncapi: Gives the document of events, likewise.
        is_ready: Whether new work is taken; False once the process is stopping.
    """

    store: Store
    catalog: Catalog
    keys: KeyRing
    switchboard: Switchboard
    courier: Courier
    live: LiveAnswers
    clients: Mapping[Mode, UpstreamClient]
    guard: EgressGuard
    metrics: Metrics
    clock: Clock
    log: Log
    vault: Vault
    files: Files
    links: Links
    sealer: Sealer
    public_keys: Callable[[str], Sequence[bytes]]
    inbound: Inbound
    materials: Mapping[Mode, Materials]
    upstream_url: str
    public_url: str | None
    can_run_live: bool
    can_run_mock: bool
    key_watch: KeyWatch
    data_dir: Path
    wait_cap_s: float
    keep_alive_s: float
    stream_cap_s: float
    relay_limits: RelayLimits
    openapi: Callable[[], bytes]
    asyncapi: Callable[[], bytes]
    is_ready: Callable[[], bool]

    def materials_of(self, mode: str) -> Materials:
        """Return what makes ready the materials of a mode; a preview shows a live run's."""
        return self.materials["mock" if mode == "mock" else "live"]


Using = NamedDependency[Services]
CalledBy = NamedDependency[Caller]


def provide_services(state: State) -> Services:
    """Hand the services to a handler.

    The routes that every run takes call this and `provide_caller` themselves: a third of what the framework costs them
    is the handing over of arguments.
    """
    services: Services = state["services"]  # as an attribute it would be looked for in vain first
    return services


async def provide_caller(request: Request[None, None, State], services: Using) -> Caller:
    """Find out who calls, and whether the key's scope covers the route; raises `Unauthorized` or `BeyondKey`."""
    caller = await services.keys.identify(request.headers)
    caller.require_scope(needed_scope(request.method, request.scope["path_template"]))
    return caller
