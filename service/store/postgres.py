"""PostgreSQL as an engine, for any number of processes.

No lock outlives a statement: what is decided on is read, decided, and written by one statement that checks that nobody
else was quicker. So a process may be frozen or die anywhere without holding up another. Units that wait are read
together and written together, since a round trip costs the same whatever it carries.

No commit notifies anybody: that takes a lock of the whole cluster. Whoever waits looks.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import asyncpg

from service.errors import StoreError
from service.settings import Secret
from service.store.engine import RIDE_S, Plan, Unit
from service.store.postgres_commit import Commits, columns
from service.store.postgres_schema import agree, bring_up_to_date
from service.store.queries import Numbered, load_queries, numbered
from service.store.rows import Row, Writes

T = TypeVar("T")

_UNUSABLE = "HALLEY_DATABASE_URL: the PostgreSQL database cannot be used"
_CONNECTIONS = 8
_STATEMENT_S = 10
_PATIENCE_S = 10.0  # so long a caller waits for a database that is away; sweeps try again by themselves
_AGAIN_S = 0.2
_BATCH = 128
_CLOSE_S = 0.5
_ROUNDS = 50  # somebody else being quicker so often in a row is a fault, not bad luck
# What says that the database, not the statement, is the trouble.
_AWAY = (
    OSError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a session that ends amid an answer may leave its client in disorder
    asyncpg.OperatorInterventionError,
)
_MAY_WORK_AGAIN = (asyncpg.DeadlockDetectedError, asyncpg.LockNotAvailableError, asyncpg.QueryCanceledError)


class PostgresEngine:
    """An `Engine` on a PostgreSQL database.

    Args:
        url: `postgresql://user:password@host/database`.
        patience_s: How long a statement waits for a database that is away.
    """

    is_shared = True

    def __init__(self, url: Secret, *, patience_s: float = _PATIENCE_S) -> None:
        self._url = url
        self._patience_s = patience_s
        sql = load_queries("postgres")
        self._sql = {name: numbered(text) for name, text in sql.items()}
        self._commits = Commits(sql)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._waiting: list[_Waiting[Any]] = []
        self._rung = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and bring an empty database to this version's schema."""
        await upgrade(self._url, only_empty=True, patience_s=self._patience_s)
        with _refused():
            self._pool = await asyncpg.create_pool(
                self._url.reveal(),
                min_size=1,
                max_size=_CONNECTIONS,
                command_timeout=_STATEMENT_S + 1,
                reset=_unchanged,
                server_settings={
                    "application_name": "halley",
                    "statement_timeout": f"{_STATEMENT_S}s",
                    "idle_in_transaction_session_timeout": f"{_STATEMENT_S}s",
                    "timezone": "UTC",
                    # A plan that is kept from when a table was empty would read all of it until somebody analyses it.
                    # Each statement finds its rows by an index; what has none to go by still reads its few rows.
                    "enable_seqscan": "off",
                    "jit": "off",  # what is so avoided looks expensive enough to be compiled
                },
            )
        self._pump = asyncio.create_task(self._run(), name="store-pump")

    async def close(self) -> None:
        """Finish what is being written and disconnect."""
        if self._pump is not None:
            pump, self._pump = self._pump, None
            self._rung.set()
            _, late = await asyncio.wait([pump], timeout=_CLOSE_S)
            for task in late:
                task.cancel()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), _CLOSE_S)
            except TimeoutError:
                pool.terminate()

    # -- single statements

    async def read(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that reads; it may be run again when the database went away."""
        until = time.monotonic() + self._patience_s
        while True:
            try:
                return await self._fetch(name, values)
            except StoreAway as exc:
                if time.monotonic() > until:
                    raise StoreError(str(exc)) from None
                await asyncio.sleep(_AGAIN_S)

    async def write(self, name: str, /, **values: Any) -> list[Row]:
        """Run a statement that writes and return its rows."""
        return await self._fetch(name, values)

    async def count(self, name: str, /, **values: Any) -> int:
        """Run a statement that writes and return how many rows it wrote."""
        (count,) = await self.count_each((name,), **values)
        return count

    async def count_each(self, names: Sequence[str], /, **values: Any) -> list[int]:
        """Run statements in one transaction and return how many rows each wrote."""
        async with self._connection() as connection:
            if len(names) == 1:
                return [await self._execute(connection, names[0], values)]
            async with connection.transaction():
                return [await self._execute(connection, name, values) for name in names]

    async def _execute(self, connection: Any, name: str, values: dict[str, Any]) -> int:
        statement = self._sql[name]
        told = await connection.execute(statement.sql, *(values[each] for each in statement.names))
        return int(told.rpartition(" ")[2])

    async def _fetch(self, name: str, values: dict[str, Any]) -> list[Row]:
        statement = self._sql[name]
        given = [values[each] for each in statement.names]
        return [] if _has_nul(given) else await self._rows(statement, given)

    async def _rows(self, statement: Numbered, given: Sequence[Any]) -> list[Row]:
        async with self._connection() as connection:
            return [tuple(row) for row in await connection.fetch(statement.sql, *given)]

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise StoreError("the database is closed")
        try:
            async with self._pool.acquire(timeout=_STATEMENT_S) as connection:
                yield connection
        except _MAY_WORK_AGAIN as exc:
            raise StoreBusy(f"the database did not come to it: {_told(exc)}") from None
        except (*_AWAY, TimeoutError) as exc:
            raise StoreAway(f"the database is away: {_told(exc)}") from None
        except asyncpg.PostgresError as exc:
            raise StoreError(f"the database refused: {_told(exc)}") from exc

    # -- units

    async def settle(self, unit: Unit[T]) -> T:
        """Carry out a unit, together with others that wait."""
        if self._pump is None:
            raise StoreError("the database is closed")
        if _has_nul(unit.key):
            return unit.plan([]).result
        waiting = _Waiting(unit, asyncio.get_running_loop().create_future(), time.monotonic() + self._patience_s)
        self._waiting.append(waiting)
        if unit.can_wait:
            asyncio.get_running_loop().call_later(RIDE_S, self._rung.set)
        else:
            self._rung.set()
        settled: T = await waiting.future
        return settled

    async def _run(self) -> None:
        while self._waiting or self._pump is not None:
            if not self._waiting:
                self._rung.clear()
                await self._rung.wait()
            batch, self._waiting = _parted(self._waiting)
            again = await self._round(batch) if batch else []
            self._waiting = again + self._waiting

    async def _round(self, batch: "list[_Waiting[Any]]") -> "list[_Waiting[Any]]":
        """Carry out a batch; returns those that must be decided again, on newer rows."""
        try:
            seen = await self._see(batch)
            planned = [(waiting, plan) for waiting in batch if (plan := waiting.decide(seen[id(waiting)])) is not None]
            writes = Writes()
            for _, plan in planned:
                writes.add(plan.writes)
            done = await self._commit(writes) if writes else set()
            for _, plan in planned:
                plan.writes.is_fanned_out = any(row.event_id in done for row in plan.writes.fans)
        except (StoreAway, StoreBusy) as exc:
            return await self._put_off(batch, exc)
        except Exception as exc:  # noqa: BLE001 - handed to the callers whose work it is
            return await self._apart(batch, exc)
        return [waiting for waiting, plan in planned if not waiting.settle(plan, done)]

    async def _put_off(self, batch: "list[_Waiting[Any]]", exc: StoreError) -> "list[_Waiting[Any]]":
        await asyncio.sleep(_AGAIN_S)
        return [waiting for waiting in batch if not waiting.has_waited_enough(exc)]

    async def _apart(self, batch: "list[_Waiting[Any]]", exc: Exception) -> "list[_Waiting[Any]]":
        """Find whose fault it was that a batch could not be written: each is tried alone."""
        if len(batch) == 1:
            batch[0].fail(exc)
            return []
        return [again for waiting in batch for again in await self._round([waiting])]

    async def _see(self, batch: "list[_Waiting[Any]]") -> dict[int, list[Row]]:
        seen: dict[int, list[Row]] = {id(waiting): [] for waiting in batch}
        for select in {waiting.unit.select for waiting in batch} - {""}:
            asking = [waiting for waiting in batch if waiting.unit.select == select]
            columns = zip(*(waiting.unit.key for waiting in asking), strict=True)
            values = {f"k{number}": list(column) for number, column in enumerate(columns, 1)}
            for number, *row in await self._fetch(select, values):
                seen[id(asking[number - 1])].append(tuple(row))
        return seen

    async def sweep(self, select: str, values: dict[str, Any], plan: Callable[[Sequence[Row]], Writes]) -> set[str]:
        """Decide on many rows at once; waits as long as it takes for a commit that may have come through."""
        rows = await self._fetch(select, values)
        writes = plan(sorted(rows, key=lambda row: (row[2] is None, row[2])))
        return await self._commit(writes) if writes else set()

    async def _commit(self, writes: Writes) -> set[str]:
        """Write all that is still as it was decided on.

        Returns the ids of the runs, groups and endpoints that were written, and of the events that endpoints want.
        """
        statement, given = self._commits.statement(writes)
        try:
            return {row[0] for row in await self._rows(statement, given)}
        except StoreAway:
            # Whether it came through is asked, for as long as it takes: half-known is worse than late.
            return await _insisting(lambda: self._recommit(writes))

    async def _recommit(self, writes: Writes) -> set[str]:
        """Write again what may have come through; what has done so already is not of the version any more.

        The first statement may still be at work: the second waits for its locks, so only after it is there certainty.
        """
        done = {row[0] for row in await self._rows(*self._commits.statement(writes))}
        return done | {row[0] for row in await self._fetch("committed", columns(writes))}


class StoreAway(StoreError):
    """The connection was refused or lost; what was under way may have come through or not."""


class StoreBusy(StoreError):
    """The statement was given up by the database; it wrote nothing."""


class _Waiting(Generic[T]):
    """A unit that waits for its turn, and who waits for it."""

    def __init__(self, unit: Unit[T], future: "asyncio.Future[T]", until: float) -> None:
        self.unit = unit
        self.future = future
        self._until = until
        self._rounds = 0

    def decide(self, rows: list[Row]) -> Plan[T] | None:
        """Make the decision; one that fails takes nothing of its neighbours with it."""
        try:
            return self.unit.plan(rows)
        except Exception as exc:  # noqa: BLE001 - handed to the caller whose decision it is
            self.fail(exc)
            return None

    def settle(self, plan: Plan[T], done: set[str]) -> bool:
        """Tell the result if everything was written; returns whether there is nothing left to do."""
        self._rounds += 1
        if plan.writes.changed_ids() <= done:
            if not self.future.done():
                self.future.set_result(plan.result)
            return True
        if self._rounds >= _ROUNDS:
            self.fail(StoreError("others were quicker to change the run, again and again"))
        return self.future.done()

    def fail(self, exc: Exception) -> None:
        """Tell what went wrong."""
        if not self.future.done():
            self.future.set_exception(exc)

    def has_waited_enough(self, exc: StoreError) -> bool:
        """Give up once the patience is at its end; returns whether it is."""
        if time.monotonic() > self._until:
            self.fail(StoreError(str(exc)))
        return self.future.done()


def _parted(waiting: "list[_Waiting[Any]]") -> "tuple[list[_Waiting[Any]], list[_Waiting[Any]]]":
    """Take the next batch: nothing in it touches what another in it touches."""
    batch: list[_Waiting[Any]] = []
    rest: list[_Waiting[Any]] = []
    touched = set[str]()
    for each in waiting:
        if len(batch) == _BATCH or not touched.isdisjoint(each.unit.touches):
            rest.append(each)
        else:
            batch.append(each)
        touched |= each.unit.touches
    return batch, rest


async def _unchanged(_connection: object) -> None:
    """Reset nothing when a connection goes back to the pool: no statement leaves anything behind in its session."""


def _has_nul(values: Iterable[Any]) -> bool:
    """Tell whether a text is among values that PostgreSQL cannot keep, so that nothing is there by it."""
    return any(isinstance(value, str) and "\0" in value for value in values)


async def _insisting(work: Callable[[], Awaitable[T]]) -> T:
    while True:
        await asyncio.sleep(_AGAIN_S)
        with contextlib.suppress(StoreAway, StoreBusy):
            return await work()


async def upgrade(url: Secret, *, only_empty: bool = False, patience_s: float = 0.0) -> tuple[int, int]:
    """Bring a database up to this version's schema; returns its number before and after.

    Args:
        url: The database.
        only_empty: Set up an empty database, and refuse one of an older version instead of changing it.
        patience_s: For how long a database is waited for that is just being started.

    Raises:
        StoreError: It cannot be used, or is of a version that it must not be.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            with _refused():
                return await bring_up_to_date(url, only_empty=only_empty)
        except StoreAway:
            if time.monotonic() > until:
                raise
        await asyncio.sleep(_AGAIN_S)


async def shared_secret(url: Secret, decide: Callable[[str | None], str]) -> str:
    """Agree on a secret with the other processes of an instance; see `agree`.

    Raises:
        StoreError: The database cannot be used.
    """
    await upgrade(url, only_empty=True, patience_s=_PATIENCE_S)
    with _refused():
        return await agree(url, "secret_keys", decide)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except (*_AWAY, TimeoutError) as exc:
        raise StoreAway(f"{_UNUSABLE}: {_told(exc)}") from None
    except (asyncpg.PostgresError, ValueError) as exc:
        raise StoreError(f"{_UNUSABLE}: {_told(exc)}") from None


def _told(exc: BaseException) -> str:
    """Return what happened in one line, without the address, which may hold a password."""
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0]
