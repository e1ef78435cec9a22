"""The one place where all floors meet: settings in, a running application out, closed in reverse order."""

import contextlib
import fcntl
import functools
import random
from collections.abc import AsyncIterator, Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

from aiohttp.abc import AbstractResolver
from litestar import Litestar
from litestar.plugins import PluginProtocol
from msgspec import Struct
from yarl import URL

from service.api import surface
from service.api.asyncapi import build_asyncapi
from service.api.auth import DEFAULT_WORKSPACE, KeyRing, add_key
from service.api.deps import RelayLimits, Services
from service.api.limits import Inbound, InboundLimits, KeyGuard
from service.api.openapi import build_document
from service.api.request_log import RequestLog
from service.api.security_headers import SecurityHeaders
from service.artifacts.examples import ExampleFetcher, Fetches
from service.artifacts.fetch import Fetcher
from service.artifacts.files import Files
from service.artifacts.links import Links
from service.artifacts.materials import Materials
from service.artifacts.upkeep import Upkeep
from service.artifacts.vault import FolderVault
from service.clock import Clock, SystemClock
from service.definitions.catalog import Catalog, CompiledNode, load_catalog
from service.delivery.courier import Courier
from service.delivery.dispatcher import Dispatcher
from service.delivery.prober import Prober
from service.delivery.renewal import renew_seals
from service.delivery.sender import Sender
from service.delivery.signer import derive_keys, derive_secrets, public_key
from service.delivery.sinks.owner import Sinks
from service.delivery.sinks.urls import read_sinks
from service.egress import EgressGuard, parse_networks
from service.errors import SettingsError
from service.lifecycle.group import GroupChange
from service.lifecycle.run import Mode
from service.log import Log
from service.metrics import CountedTogether, Metrics
from service.sealing import Sealer
from service.secret_key import SecretKeys, agreed, load_secret_keys, written
from service.settings import Secret, Settings
from service.store.base import Store
from service.store.opening import shared_secret, store_of
from service.upstream.client import UpstreamClient
from service.upstream.key_check import KeyWatch, checking_node
from service.upstream.transport import Transport
from service.workers.budget import Budgets
from service.workers.conductor import FlowWaker
from service.workers.desk import Batch, Desk
from service.workers.experience import Experience
from service.workers.gatherer import Gatherer
from service.workers.interest import ProgressInterest
from service.workers.live import LiveAnswers
from service.workers.poller import Poller
from service.workers.reconciler import Reconciler
from service.workers.recoverer import Recoverer
from service.workers.rescuer import Rescuer
from service.workers.scheduler import SweepScheduler
from service.workers.siblings import Siblings
from service.workers.submitter import Submitter
from service.workers.sweep import Crew, Sweep
from service.workers.switchboard import Switchboard

_DRAIN_S = 4.5  # after 1 s of notice and the 3 s that requests under way are given; a stop takes 10 s at most
_WAIT_CAP_S = 25.0
_WORKSPACES = 10_000  # whose signing secrets and keys are known by heart
_MOCK_KEY = Secret("mock-key")
_THIS_MACHINE = parse_networks("127.0.0.0/8, ::1")


class Team(Struct, frozen=True, kw_only=True):
    """The workers of one machine that serve together, as one of them sees them.

    Attributes:
        owner: What this worker is known by in the database.
        before: What the one before it at its place was known by, which is dead.
        siblings: The others.
        counted: Where all of them count; None where each counts for itself.
    """

    owner: str
    before: str | None
    siblings: Siblings
    counted: CountedTogether | None


class Tuning(Struct, frozen=True, kw_only=True):
    """How often sweeps are rung, in seconds, who works beside this process, and what tests replace.

    Attributes:
        submit_s: Queued runs that wait out a backoff.
        poll_s: Running tasks.
        reconcile_s: Submissions of unknown outcome.
        recover_s: Runs that timed out and may still succeed.
        expire_s: Deadlines.
        beat_s: Signs of life, and a look for those of others.
        watch_s: Waits for runs that another process may end.
        deliver_s: Deliveries that wait on their ladder.
        learn_s: What is learned of durations is written.
        groups_s: Groups whose time has come.
        interest_s: Endpoints that want to hear of progress.
        endpoints_s: Endpoints that end, or are tried again.
        upkeep_s: Uploads whose time is over.
        wait_cap_s: Longest wait in one request.
        keep_alive_s: Longest silence in a stream of events.
        stream_cap_s: How long a stream of events may last, which is also how long a revoked key may listen.
        relay_limits: How long a relayed WebSocket may be open.
        inbound: How often strangers may try.
        team: The workers that this process is one of; None when it serves alone.
        resolver: Resolver of hosts in users' URLs; the system's by default.
        around_store: Puts something between the service and its store, such as a test that interrupts it.
    """

    submit_s: float = 0.5
    poll_s: float = 0.25
    reconcile_s: float = 1.0
    recover_s: float = 5.0
    expire_s: float = 1.0
    beat_s: float = 3.0
    watch_s: float = 0.25
    deliver_s: float = 0.5
    learn_s: float = 5.0
    groups_s: float = 1.0
    interest_s: float = 2.0
    endpoints_s: float = 10.0
    upkeep_s: float = 60.0
    wait_cap_s: float = _WAIT_CAP_S
    keep_alive_s: float = 10.0
    stream_cap_s: float = 3600.0
    relay_limits: RelayLimits = RelayLimits()
    inbound: InboundLimits = InboundLimits()
    team: Team | None = None
    resolver: AbstractResolver | None = None
    around_store: Callable[[Store], Store] = lambda store: store


class Mock(Struct, frozen=True, kw_only=True):
    """The simulated upstream of `mode=mock`: where it is, and where it may call back."""

    url: str
    callback_base: str


def create_app(
    settings: Settings,
    log: Log,
    *,
    mock: Mock | None = None,
    catalog: Catalog | None = None,
    clock: Clock | None = None,
    tuning: Tuning | None = None,
    announce_key: Callable[[str], None] | None = None,
    is_stopping: Callable[[], bool] | None = None,
) -> Litestar:
    """Build the application; everything it owns is opened and closed by its lifespan.

    Args:
        settings: Checked settings.
        log: Structured log.
        mock: Simulated upstream; without one `mode=mock` is refused.
        catalog: Compiled nodes; loaded when not given.
        clock: The time.
        tuning: Intervals and test doubles.
        announce_key: Told the first API key, made when there is none and none is set.
        is_stopping: Whether the process is about to stop: callers who wait are answered at once.

    Raises:
        DefinitionFaults: Node definitions are wrong.
        SettingsError: The data folder, the secret key or a sink cannot be used.
    """
    house = House(
        settings,
        log,
        mock=mock,
        catalog=catalog or load_catalog(settings.nodes_path),
        clock=clock or SystemClock(),
        tuning=tuning or Tuning(),
        announce_key=announce_key,
        is_stopping=is_stopping or (lambda: False),
    )
    return _Application(
        route_handlers=surface.ROUTES,
        dependencies=surface.DEPENDENCIES,
        exception_handlers=surface.EXCEPTION_HANDLERS,
        middleware=[RequestLog(), KeyGuard()],
        before_send=[SecurityHeaders(settings.public_url)],
        lifespan=[house.lifespan],
        openapi_config=None,
        logging_config=None,
        debug=False,
    )


class _Application(Litestar):
    """The framework without plugins for what happens to be installed: brokers bring pydantic, and nobody uses it."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins


class Archive(Struct, frozen=True, kw_only=True):
    """What Halley keeps bytes with.

    Attributes:
        vault: The bytes.
        files: Uploads.
        links: Links to them.
        materials: What runs bring along, by mode.
        upkeep: Deletes what has expired.
    """

    vault: FolderVault
    files: Files
    links: Links
    materials: dict[Mode, Materials]
    upkeep: Upkeep


class House:
    """Everything the application owns, and the order in which it is opened and closed."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        *,
        mock: Mock | None,
        catalog: Catalog,
        clock: Clock,
        tuning: Tuning,
        announce_key: Callable[[str], None] | None,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._log = log
        self._mock = mock
        self._catalog = catalog
        self._clock = clock
        self._tuning = tuning
        self._announce_key = announce_key
        self._is_stopping = is_stopping
        self._team = tuning.team
        self._is_ready = False
        self._sinks = Sinks(read_sinks(settings.sinks))
        self._chance = random.Random()  # noqa: S311 - jitter needs no secrecy
        self.archive: Archive
        self.key_watch: KeyWatch
        self.live = LiveAnswers()

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Litestar) -> AsyncIterator[None]:
        """Open store, clients and sweeps, and close them in reverse order."""
        async with contextlib.AsyncExitStack() as stack:
            if isinstance(self._settings.database, Path):
                stack.enter_context(locked(self._settings.data_dir))
            self._settings.data_dir.mkdir(parents=True, exist_ok=True)
            keys = await secret_keys(self._settings)
            sealer, links = Sealer(keys), Links(keys, self._settings.public_url)
            owner = self._team.owner if self._team else None
            kept = store_of(self._settings.database, self._clock, sign=links.for_event, owner=owner)
            store = self._tuning.around_store(kept)
            await store.open()
            stack.push_async_callback(store.close)
            await self._ensure_key(store)
            await self._sinks.subscribe(store, self._clock.now())
            await renew_seals(store, sealer, self._log)
            metrics = Metrics(self._team.counted if self._team else None)
            switchboard, crew = Switchboard(), Crew(self._log)
            store.listen(metrics.notify)
            store.listen(switchboard.notify)
            if self._team is not None:
                store.listen(self._team.siblings.notify)
                stack.enter_context(self._team.siblings.heard_by(switchboard.hear))
            guard = EgressGuard(self._settings.egress_allow)
            self.archive = await self._archive(stack, store, guard, links)
            desk = await self._desk(stack, store, crew, switchboard)
            store.listen(FlowWaker(desk).notify)
            store.listen(desk.experience.notify)
            courier = await self._courier(stack, guard, keys, sealer)
            dispatcher = self._dispatcher(desk, courier, metrics)
            app.state.services = self._services(
                desk, courier, switchboard, guard, keys=keys, sealer=sealer, metrics=metrics
            )
            await self._run_sweeps(stack, desk, dispatcher, courier, switchboard)
            self._is_ready = True
            try:
                yield
            finally:
                self._is_ready = False

    async def _ensure_key(self, store: Store) -> None:
        if self._announce_key is None or self._settings.api_key is not None or await store.keys():
            return
        key = await add_key(store, self._clock, "first", DEFAULT_WORKSPACE)
        if key is not None:
            self._announce_key(key)

    async def _archive(
        self, stack: contextlib.AsyncExitStack, store: Store, guard: EgressGuard, links: Links
    ) -> Archive:
        vault = FolderVault(self._settings.data_dir / "artifacts")
        await vault.open()
        files = Files(vault, store, self._clock)
        fetcher = await stack.enter_async_context(Fetcher(guard, vault, resolver=self._tuning.resolver))
        local = await stack.enter_async_context(Fetcher(EgressGuard(_THIS_MACHINE), vault))
        is_played = is_on_this_machine(self._settings.upstream_url)
        live = ExampleFetcher(fetcher, local, self._settings.upstream_url) if is_played else fetcher
        ways: dict[Mode, tuple[Fetches, str | None]] = {"live": (live, self._settings.public_url)}
        if self._mock is not None:
            ways["mock"] = (ExampleFetcher(fetcher, local, self._mock.url), self._mock.callback_base)
        return Archive(
            vault=vault,
            files=files,
            links=links,
            materials={
                mode: Materials(vault, way, store, files=files, links=links, public_url=base, clock=self._clock)
                for mode, (way, base) in ways.items()
            },
            upkeep=Upkeep(store, vault, self._clock, keep_runs_s=self._settings.keep_runs_s),
        )

    async def _desk(self, stack: contextlib.AsyncExitStack, store: Store, crew: Crew, switchboard: Switchboard) -> Desk:
        settings = self._settings
        live = await stack.enter_async_context(Transport(settings.upstream_url, settings.upstream_key))
        has_key, node = settings.upstream_key is not None, checking_node(self._catalog)
        self.key_watch = KeyWatch(live, node, has_key=has_key, clock=self._clock, start=crew.start)
        clients: dict[Mode, UpstreamClient] = {
            "live": UpstreamClient(live, self._clock, self.archive.materials["live"], self.archive.vault)
        }
        bases: dict[Mode, str | None] = {"live": settings.public_url}
        if self._mock is not None:
            mock = await stack.enter_async_context(Transport(self._mock.url, _MOCK_KEY))
            clients["mock"] = UpstreamClient(mock, self._clock, self.archive.materials["mock"], self.archive.vault)
            bases["mock"] = self._mock.callback_base
        return Desk(
            store=store,
            catalog=self._catalog,
            clients=clients,
            callback_bases=bases,
            budgets=Budgets(self._catalog.providers(), self._clock.now),
            batches=batches(self._catalog),
            live=self.live,
            experience=Experience(store, self._catalog, self._clock, lambda: switchboard.ring("learn")),
            interest=ProgressInterest(store.progress_wanted),
            crew=crew,
            clock=self._clock,
            chance=self._chance,
            ring=switchboard.ring,
            log=self._log,
        )

    async def _courier(
        self, stack: contextlib.AsyncExitStack, guard: EgressGuard, keys: SecretKeys, sealer: Sealer
    ) -> Courier:
        stack.push_async_callback(self._sinks.close)
        sender = Sender(guard, resolver=self._tuning.resolver)
        await sender.start()
        stack.push_async_callback(sender.close)
        return Courier(
            sender,
            sinks=self._sinks,
            sealer=sealer,
            secrets_of=functools.lru_cache(maxsize=_WORKSPACES)(lambda workspace: derive_secrets(keys, workspace)),
            keys_of=functools.lru_cache(maxsize=_WORKSPACES)(lambda workspace: derive_keys(keys, workspace)),
            public_url=self._settings.public_url,
            clock=self._clock,
        )

    def _dispatcher(self, desk: Desk, courier: Courier, metrics: Metrics) -> Dispatcher:
        return Dispatcher(
            desk.store,
            courier,
            start=desk.crew.start,
            ring=lambda: desk.ring("deliver"),
            count=lambda outcome: metrics.attempts(outcome).inc(),
            clock=self._clock,
            chance=self._chance,
            log=self._log,
        )

    def _services(
        self,
        desk: Desk,
        courier: Courier,
        switchboard: Switchboard,
        guard: EgressGuard,
        *,
        keys: SecretKeys,
        sealer: Sealer,
        metrics: Metrics,
    ) -> Services:
        settings, store = self._settings, desk.store
        return Services(
            store=store,
            catalog=self._catalog,
            keys=KeyRing(store, settings.api_key, self._clock),
            switchboard=switchboard,
            courier=courier,
            live=desk.live,
            clients=desk.clients,
            guard=guard,
            metrics=metrics,
            clock=self._clock,
            log=self._log,
            vault=self.archive.vault,
            files=self.archive.files,
            links=self.archive.links,
            sealer=sealer,
            public_keys=lambda workspace: [public_key(each) for each in derive_keys(keys, workspace)],
            inbound=Inbound(self._tuning.inbound),
            materials=self.archive.materials,
            upstream_url=settings.upstream_url,
            public_url=settings.public_url,
            can_run_live=settings.upstream_key is not None,
            can_run_mock=self._mock is not None,
            key_watch=self.key_watch,
            data_dir=settings.data_dir,
            wait_cap_s=self._tuning.wait_cap_s,
            keep_alive_s=self._tuning.keep_alive_s,
            stream_cap_s=self._tuning.stream_cap_s,
            relay_limits=self._tuning.relay_limits,
            openapi=functools.cache(functools.partial(build_document, self._catalog)),
            asyncapi=functools.cache(functools.partial(build_asyncapi, self._catalog)),
            is_ready=lambda: self._is_ready and not self._is_stopping(),
        )

    async def _run_sweeps(
        self,
        stack: contextlib.AsyncExitStack,
        desk: Desk,
        dispatcher: Dispatcher,
        courier: Courier,
        switchboard: Switchboard,
    ) -> None:
        def share(processes: int) -> None:
            desk.budgets.share(processes)
            dispatcher.share(processes)

        rescuer, tuning, poller = Rescuer(desk, share), self._tuning, Poller(desk)
        desk.store.hand_over(poller, dispatcher)
        prober = Prober(desk.store, courier, clock=self._clock, log=self._log)
        gatherer = Gatherer(desk.store, self._clock, self._group_told(switchboard), self._log)
        if self._team is not None and self._team.before is not None:
            await desk.store.leave(self._team.before)
        await rescuer.enroll()
        stack.push_async_callback(desk.store.leave)
        stack.push_async_callback(desk.experience.close)
        sweeps = [
            Sweep("submit", tuning.submit_s, Submitter(desk).run_once, self._log),
            Sweep("poll", tuning.poll_s, poller.run_once, self._log),
            Sweep("reconcile", tuning.reconcile_s, Reconciler(desk).run_once, self._log),
            Sweep("recover", tuning.recover_s, Recoverer(desk).run_once, self._log),
            Sweep("expire", tuning.expire_s, rescuer.run_once, self._log),
            Sweep("replicas", tuning.beat_s, rescuer.beat, self._log),
            Sweep("watch", tuning.watch_s, lambda: switchboard.watch(desk.store.resting), self._log),
            Sweep("deliver", tuning.deliver_s, dispatcher.run_once, self._log),
            Sweep("learn", tuning.learn_s, desk.experience.run_once, self._log),
            Sweep("groups", tuning.groups_s, gatherer.run_once, self._log),
            Sweep("interest", tuning.interest_s, desk.interest.run_once, self._log),
            Sweep("endpoints", tuning.endpoints_s, prober.run_once, self._log),
            Sweep("upkeep", tuning.upkeep_s, self.archive.upkeep.run_once, self._log),
        ]
        for sweep in sweeps:
            switchboard.connect(sweep)
        scheduler = SweepScheduler(sweeps)
        scheduler.start()
        stack.push_async_callback(desk.crew.drain, _DRAIN_S)
        stack.push_async_callback(scheduler.stop)

    def _group_told(self, switchboard: Switchboard) -> Callable[[GroupChange], None]:
        def tell(change: GroupChange) -> None:
            switchboard.notify_group(change)
            if self._team is not None:
                self._team.siblings.notify_group(change)

        return tell


async def secret_keys(settings: Settings) -> SecretKeys:
    """Return the secret keys: those of the settings or of the data folder; on PostgreSQL all processes have the same.

    Raises:
        SettingsError: They cannot be read.
        StoreError: The database cannot be used.
    """
    own = load_secret_keys(settings.secret_key, settings.data_dir)
    if isinstance(settings.database, Path) or settings.secret_key is not None:
        return own
    return agreed(own, await shared_secret(settings.database, lambda shared: written(agreed(own, shared))))


def batches(catalog: Catalog) -> dict[str, Batch]:
    """Return the providers whose tasks are asked about together, and how."""
    asked = [(node, node.plan.many) for node in catalog.nodes.values() if node.node.kind == "task"]
    nodes: dict[str, list[CompiledNode]] = {}
    for node, many in asked:
        if many is not None:
            nodes.setdefault(node.provider.provider, []).append(node)
    return {
        name: Batch(
            ahead_s=max(node.pace.at_most_s for node in members),
            at_most=min(node.plan.many.at_most for node in members if node.plan.many),
            nodes=tuple(node.id for node in members),
        )
        for name, members in nodes.items()
    }


def is_on_this_machine(url: str) -> bool:
    """Tell whether a URL leads to this machine by its address; a name is asked of nobody."""
    host = (URL(url).host or "").strip("[]")
    try:
        return host == "localhost" or any(ip_address(host) in network for network in _THIS_MACHINE)
    except ValueError:
        return False


@contextlib.contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process: SQLite carries one Halley, not two."""
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "halley.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise SettingsError(f"HALLEY_DATA_DIR: another Halley is running in {data_dir}") from None
        yield
