"""What all runs of one lane share: requests in flight, queries per second, and pauses upstream asks for."""

from collections.abc import Callable, Mapping

from service.definitions.schema import Budget, Provider

_MOST_PAUSE_S = 60.0


class ProviderBudget:
    """The budget of one provider in this process.

    Args:
        budget: Its limits.
        now: Monotonic or wall-clock seconds.
    """

    def __init__(self, budget: Budget, now: Callable[[], float]) -> None:
        self._limits = budget
        self._now = now
        self._submissions = 0
        self._queries = 0
        self._tokens = budget.queries_per_s
        self._filled_at = now()
        self._paused_until = 0.0
        self._sharers = 1

    @property
    def open_tasks(self) -> int | None:
        """How many tasks may be open upstream at once, if that is limited."""
        return self._limits.open_tasks

    def free_submissions(self) -> int:
        """Return how many submissions may be started now."""
        return self._free(self._submissions)

    def _free(self, of_this_kind: int) -> int:
        """Return how many more of a kind may be started: each kind leaves a quarter of all to the other."""
        if self._now() < self._paused_until:
            return 0
        most = max(self._limits.concurrency // self._sharers, 1)
        most_of_a_kind = max(most - max(most // 4, 1), 1)
        return max(min(most - self._submissions - self._queries, most_of_a_kind - of_this_kind), 0)

    def free_queries(self) -> int:
        """Return how many queries may be started now, within the rate as well."""
        now, per_s = self._now(), self._limits.queries_per_s / self._sharers
        gained = (now - self._filled_at) * per_s
        self._tokens = min(self._tokens + max(gained, 0.0), max(per_s, 1.0))
        self._filled_at = now
        return min(self._free(self._queries), int(self._tokens))

    def begin(self, *, query: bool) -> None:
        """Count a request as in flight."""
        if query:
            self._queries += 1
            self._tokens -= 1
        else:
            self._submissions += 1

    def end(self, *, query: bool) -> None:
        """Count a request as done."""
        if query:
            self._queries -= 1
        else:
            self._submissions -= 1

    def share(self, sharers: int) -> None:
        """Leave their part to other processes."""
        self._sharers = max(sharers, 1)

    def pause(self, seconds: float) -> None:
        """Start nothing for a while, since upstream said so; a wrong figure must not silence a lane for hours."""
        self._paused_until = max(self._paused_until, self._now() + min(seconds, _MOST_PAUSE_S))


class Budgets:
    """The budgets of all lanes: one for each provider, and another for its mock runs.

    Args:
        providers: By name.
        now: Seconds.
    """

    def __init__(self, providers: Mapping[str, Provider], now: Callable[[], float]) -> None:
        self._providers = dict(providers)
        self._now = now
        self._lanes: dict[str, ProviderBudget] = {}
        self._sharers = 1

    def share(self, sharers: int) -> None:
        """Leave their part to other processes: upstream knows one customer, not several processes."""
        self._sharers = sharers
        for budget in self._lanes.values():
            budget.share(sharers)

    def of(self, lane: str) -> ProviderBudget:
        """Return a lane's budget; a provider whose definition has left gets the format's defaults."""
        if lane not in self._lanes:
            provider = self._providers.get(lane.rpartition(":")[2])
            self._lanes[lane] = ProviderBudget(provider.budget if provider else Budget(), self._now)
            self._lanes[lane].share(self._sharers)
        return self._lanes[lane]
