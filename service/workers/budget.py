"""What all runs of one provider share: requests in flight, queries per second, and pauses upstream asks for."""

from collections.abc import Callable, Mapping

from service.definitions.schema import Budget, Provider


class ProviderBudget:
    """The budget of one provider in this process.

    Args:
        budget: Its limits.
        now: Monotonic or wall-clock seconds.
    """

    def __init__(self, budget: Budget, now: Callable[[], float]) -> None:
        self._limits = budget
        self._now = now
        self._in_flight = 0
        self._tokens = budget.queries_per_s
        self._filled_at = now()
        self._paused_until = 0.0

    def free(self) -> int:
        """Return how many requests may be started now."""
        if self._now() < self._paused_until:
            return 0
        return max(self._limits.concurrency - self._in_flight, 0)

    def free_queries(self) -> int:
        """Return how many queries may be started now, within the rate as well."""
        now = self._now()
        gained = (now - self._filled_at) * self._limits.queries_per_s
        self._tokens = min(self._tokens + max(gained, 0.0), max(self._limits.queries_per_s, 1.0))
        self._filled_at = now
        return min(self.free(), int(self._tokens))

    def begin(self, *, query: bool = False) -> None:
        """Count a request as in flight."""
        self._in_flight += 1
        if query:
            self._tokens -= 1

    def end(self) -> None:
        """Count a request as done."""
        self._in_flight -= 1

    def pause(self, seconds: float) -> None:
        """Start nothing for a while, since upstream said so."""
        self._paused_until = max(self._paused_until, self._now() + seconds)


class Budgets:
    """The budgets of all providers."""

    def __init__(self, providers: Mapping[str, Provider], now: Callable[[], float]) -> None:
        self._budgets = {name: ProviderBudget(provider.budget, now) for name, provider in providers.items()}
        self._unknown = ProviderBudget(Budget(), now)

    def of(self, provider: str) -> ProviderBudget:
        """Return a provider's budget; runs of a provider that has left share one."""
        return self._budgets.get(provider, self._unknown)
