"""The arithmetic of docs/scale.md: what many runs ask of databases and processes, from what one run was seen to cost.

Nothing is measured here. To repeat it with other figures, change `MEASURED` to what `bench store` prints on your
machine, `WANTED` to your load, and `ASSUMED` to what you let one server carry.
"""

import math

from msgspec import Struct

from bench.parts.table import figure, print_table

_DAY_S = 86_400
_MB, _GB, _TB = 1e6, 1e9, 1e12


class Costs(Struct, frozen=True, kw_only=True):
    """What one run costs, with one look; and what each further look adds.

    Attributes:
        server_ms: Processor time of PostgreSQL.
        server_ms_per_look: As it says.
        wal_kb: Written to the log.
        wal_kb_per_look: As it says.
        rows: Rows that stay, by table; a further look adds one to `timeline`.
        kept_kb: Bytes that stay with their indexes, by table.
        kept_kb_per_look: What a further look adds to `timeline`.
        process_ms: Processor time of Halley for a whole run with HTTP: the budget of a run, not a measurement of this.
    """

    server_ms: float
    server_ms_per_look: float
    wal_kb: float
    wal_kb_per_look: float
    rows: dict[str, int]
    kept_kb: dict[str, float]
    kept_kb_per_look: float
    process_ms: float


class Load(Struct, frozen=True, kw_only=True):
    """What is asked for.

    Attributes:
        runs_per_day: Runs.
        peak: How many times the average the busiest minutes are.
        looks: Polls of a run.
        open_s: How long a run is under way.
        kept_days: How long the rows of a table stay after the end of their run.
    """

    runs_per_day: float
    peak: float
    looks: int
    open_s: float
    kept_days: dict[str, float]


class Limits(Struct, frozen=True, kw_only=True):
    """What one server is let carry, at its peak; guesses of an operator and no measurements.

    Attributes:
        cores: Of one database server, as fast as the measured ones.
        busy: Share of them that may be in use.
        wal_mb_per_s: What its log disk and its standby take.
        kept_tb: What can be backed up, restored and vacuumed in a night.
        process_busy: Share of a core that one Halley may use.
        connections: Of one Halley.
    """

    cores: float
    busy: float
    wal_mb_per_s: float
    kept_tb: float
    process_busy: float
    connections: int


MEASURED = Costs(
    server_ms=0.53,
    server_ms_per_look=0.08,
    wal_kb=21.5,
    wal_kb_per_look=3.3,
    rows={"runs": 1, "run_inputs": 1, "events": 3, "deliveries": 1, "timeline": 5, "idempotency_keys": 1},
    kept_kb={
        "runs": 2.00,
        "run_inputs": 0.33,
        "events": 4.26,
        "deliveries": 0.60,
        "timeline": 1.36,
        "idempotency_keys": 0.44,
    },
    kept_kb_per_look=0.27,
    process_ms=2.0,
)
WANTED = Load(
    runs_per_day=100e6,
    peak=3,
    looks=3,
    open_s=180,
    kept_days={"runs": 30, "run_inputs": 30, "events": 3, "deliveries": 3, "timeline": 7, "idempotency_keys": 7},
)
ASSUMED = Limits(cores=16, busy=0.5, wal_mb_per_s=60, kept_tb=2, process_busy=0.6, connections=8)
_LOADS = (1e6, 10e6, 100e6)


class Need(Struct, frozen=True, kw_only=True):
    """What a load comes to."""

    average_per_s: float
    peak_per_s: float
    open_runs: float
    row_writes_per_s: float
    server_cores: float
    wal_mb_per_s: float
    wal_tb_per_day: float
    new_gb_per_day: float
    kept_tb: dict[str, float]
    processes: int
    databases: dict[str, int]

    @property
    def all_kept_tb(self) -> float:
        """What stands in all databases once the oldest rows go as fast as new ones come."""
        return sum(self.kept_tb.values())


def need(load: Load, costs: Costs = MEASURED, limits: Limits = ASSUMED) -> Need:
    """Return what a load comes to."""
    average, more_looks = load.runs_per_day / _DAY_S, load.looks - 1
    peak = average * load.peak
    kept_kb = costs.kept_kb | {"timeline": costs.kept_kb["timeline"] + more_looks * costs.kept_kb_per_look}
    kept_tb = {t: kb * 1000 * load.runs_per_day * load.kept_days[t] / _TB for t, kb in kept_kb.items()}
    cores = peak * (costs.server_ms + more_looks * costs.server_ms_per_look) / 1000
    wal_bytes = 1000 * (costs.wal_kb + more_looks * costs.wal_kb_per_look)
    return Need(
        average_per_s=average,
        peak_per_s=peak,
        open_runs=peak * load.open_s,
        # Rows that stay, and one version more of the run or delivery with each claim and each change.
        row_writes_per_s=peak * (sum(costs.rows.values()) + more_looks + 3 + 2 * load.looks + 2),
        server_cores=cores,
        wal_mb_per_s=peak * wal_bytes / _MB,
        wal_tb_per_day=load.runs_per_day * wal_bytes / _TB,
        new_gb_per_day=sum(kept_kb.values()) * 1000 * load.runs_per_day / _GB,
        kept_tb=kept_tb,
        processes=math.ceil(peak * costs.process_ms / 1000 / limits.process_busy),
        databases={
            "processor": math.ceil(cores / (limits.cores * limits.busy)),
            "log": math.ceil(peak * wal_bytes / _MB / limits.wal_mb_per_s),
            "size": math.ceil(sum(kept_tb.values()) / limits.kept_tb),
        },
    )


def main() -> None:
    """Print the table of docs/scale.md."""
    loads = [Load(**{**_words(WANTED), "runs_per_day": runs}) for runs in _LOADS]
    needs = [need(load) for load in loads]
    head = ("", *(f"{load.runs_per_day / 1e6:,.0f} million runs a day" for load in loads))
    print_table(head, [(name, *(write(each) for each in needs)) for name, write in _ROWS])


def _words(load: Load) -> dict[str, object]:
    return {name: getattr(load, name) for name in load.__struct_fields__}


_ROWS = (
    ("runs/s on average", lambda n: figure(n.average_per_s, 0)),
    ("runs/s at the peak", lambda n: figure(n.peak_per_s, 0)),
    ("open runs at the peak", lambda n: figure(n.open_runs, 0)),
    ("row versions written/s, peak", lambda n: figure(n.row_writes_per_s, 0)),
    ("cores of PostgreSQL busy, peak", lambda n: figure(n.server_cores, 1)),
    ("MB/s of its log, peak", lambda n: figure(n.wal_mb_per_s, 1)),
    ("TB of its log a day", lambda n: figure(n.wal_tb_per_day, 2)),
    ("GB of new rows a day", lambda n: figure(n.new_gb_per_day, 0)),
    ("TB kept: runs and inputs", lambda n: figure(n.kept_tb["runs"] + n.kept_tb["run_inputs"], 2)),
    ("TB kept: all tables", lambda n: figure(n.all_kept_tb, 2)),
    ("Halley processes", lambda n: figure(n.processes, 0)),
    ("their connections", lambda n: figure(n.processes * ASSUMED.connections, 0)),
    ("databases, by processor", lambda n: figure(n.databases["processor"], 0)),
    ("databases, by log", lambda n: figure(n.databases["log"], 0)),
    ("databases, by size", lambda n: figure(n.databases["size"], 0)),
)
