"""What a run's answers took, summed segment by segment: by server and moment, by latency, by attempts, by fault."""

import datetime
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.results import RESULT_TEXTS, RESULTS
from jobs.state.ledger import Digests, Ledger, digests, find_ids, order
from jobs.state.manifest import Manifest
from jobs.state.published_run import PublishedRun
from jobs.state.storage import in_threads, is_outage

SEGMENTS_AT_ONCE = 256  # segments held in memory, summed before the next are read
SEGMENT_ROWS_READ = 100_000  # of a segment, read at a time
MOMENTS = 2_000  # into which the time of a run is cut; charts join some of them
FAULT_EXAMPLES = 3
TEXT = ("chunk_id", *RESULT_TEXTS)  # what sums don't need
NEEDED = pa.schema([RESULTS.field(name) for name in RESULTS.names if name not in TEXT])
COUNTED = ("prompt_tokens", "cached_tokens", "completion_tokens", "in_flight", "truncated", "looped")
SUMS = (*COUNTED, "answers", "failed")
LATENCY_EDGES: npt.NDArray[np.float64] = np.geomspace(0.001, 100_000, 401)  # seconds, each 5 % above the last
LEAST_SPAN_S = 1.0  # times of runs are whole seconds
RUN_OF_SEGMENT = re.compile(r"(\d{8}T\d{6}Z-[0-9a-f]{6})\.")  # no name of one of several runs begins so


@dataclass(frozen=True)
class ServerWork:
    """A server's share: sums of its answers, and the seconds (since 1970) between which it worked."""

    server: str
    answers: int
    failed: int
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    in_flight: int
    first: float
    last: float


@dataclass
class Answers:
    """What the answers that a run asked for took.

    `moments` has a row for each server and moment (the number of a piece of `width_s` seconds since `began`): SUMS,
    and the first request and the last answer. `latency` counts answers between LATENCY_EDGES.
    """

    began: float
    width_s: float
    moments: pa.Table
    latency: npt.NDArray[np.int64]
    attempts: Counter[int] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def total(self, name: str) -> int:
        """The sum of one of SUMS."""
        return int(pc.sum(self.moments[name]).as_py() or 0)

    @property
    def done(self) -> int:
        """Questions that came to an end."""
        return self.total("answers") + self.total("failed")

    @property
    def servers(self) -> list[ServerWork]:
        """Each server's share, the busiest first."""
        summed = _joined([self.moments.set_column(1, "moment", pa.array([0] * self.moments.num_rows, pa.int64()))])
        rows = [ServerWork(**row) for row in summed.select(list(ServerWork.__dataclass_fields__)).to_pylist()]
        return sorted(rows, key=lambda work: (-work.answers, work.server))

    @property
    def server_hours(self) -> float:
        """Hours that servers worked, each from its first request to its last answer."""
        return sum(work.last - work.first for work in self.servers) / 3600

    @property
    def seconds(self) -> float:
        """From the first request to the last answer."""
        if not self.moments.num_rows:
            return 0.0
        return float(pc.max(self.moments["last"]).as_py() - pc.min(self.moments["first"]).as_py())

    @property
    def rate(self) -> float:
        """Chunks a second that came to an end."""
        return self.done / max(self.seconds, 1e-9)

    def quantile(self, share: float) -> float:
        """The latency in seconds that a share of the answers did not exceed, to about 5 %."""
        reached = np.cumsum(self.latency)
        if not len(reached) or not reached[-1]:
            return 0.0
        return float(LATENCY_EDGES[int(np.searchsorted(reached, share * reached[-1])) + 1])


def answers_of(published: PublishedRun) -> Answers:
    """What the run's own answers to the chunks of its plan took, not those that it found in the ledger."""
    ledger, run_id = published.ledger, published.manifest.run_id
    segments = ledger.storage.list(ledger.folder, ".parquet")
    runs = {path: RUN_OF_SEGMENT.match(path.rsplit("/", 1)[-1]) for path in segments}
    mine = [path for path, run in runs.items() if run and run[1] == run_id]
    nameless = [path for path, run in runs.items() if not run]  # in which segments of several runs may be joined
    ids = _planned(published)
    began, ended = _span(published.manifest)
    latency = np.zeros(len(LATENCY_EDGES) - 1, np.int64)
    answers = Answers(began, (ended - began) / MOMENTS, _empty(), latency)
    joined = (_within(table, began, ended) for table in _tables(ledger, nameless))
    return _summed(answers, (_to(ids, table) for table in chain(_tables(ledger, mine), joined)))


def _planned(published: PublishedRun) -> Digests:
    """The planned chunks of what is published, in order. A backfill's partitions share its run, not its plan."""
    columns = (published.storage.read_table(path, ["chunk_id"])["chunk_id"] for path in published.chunk_files)
    ids = np.concatenate([digests([]), *(digests(column.to_pylist()) for column in columns)])
    return ids[order(ids)]


def _to(ids: Digests, table: pa.Table) -> pa.Table:
    """The answers to some chunks, given in order."""
    rows, _ = find_ids(ids, digests(table["chunk_id"].to_pylist()))
    asked = np.zeros(table.num_rows, bool)
    asked[rows] = True
    return table.filter(pa.array(asked))


def _within(table: pa.Table, began: float, ended: float) -> pa.Table:
    """The answers that came within some time."""
    at = pc.fill_null(table["ended_at"], 0.0)
    return table.filter(pc.and_(pc.greater_equal(at, began), pc.less_equal(at, ended)))


def _span(manifest: Manifest) -> tuple[float, float]:
    """When the run began and was published, in seconds since 1970."""
    began = datetime.datetime.strptime(manifest.run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    ended = datetime.datetime.fromisoformat(manifest.created_at)
    return began.timestamp(), max(began, ended).timestamp() + LEAST_SPAN_S


def _tables(ledger: Ledger, paths: list[str]) -> Iterator[pa.Table]:
    """Segments without their replies, some read at once."""
    for start in range(0, len(paths), SEGMENTS_AT_ONCE):
        yield from in_threads(partial(_segment, ledger), paths[start : start + SEGMENTS_AT_ONCE])


def _segment(ledger: Ledger, path: str) -> pa.Table:
    """One segment; nothing of a torn or foreign file, which the run passed over too."""
    try:
        read = ledger.storage.read_batches(path, SEGMENT_ROWS_READ, ["chunk_id", *NEEDED.names])
        return pa.concat_tables([RESULTS.empty_table(), *read], promote_options="default")  # of older versions too
    except (pa.ArrowException, OSError, KeyError) as error:
        if is_outage(error):
            raise
        return RESULTS.empty_table()


def _empty() -> pa.Table:
    return pa.schema(
        [
            ("server", pa.string()),
            ("moment", pa.int64()),
            *((name, pa.int64()) for name in SUMS),
            ("first", pa.float64()),
            ("last", pa.float64()),
        ]
    ).empty_table()


def _summed(answers: Answers, tables: Iterator[pa.Table]) -> Answers:
    parts = [answers.moments]
    for table in tables:
        parts.append(_by_moment(table, answers.began, answers.width_s))
        latency = np.clip(table["latency_s"].to_numpy(), LATENCY_EDGES[0], LATENCY_EDGES[-1])
        answers.latency += np.histogram(latency, LATENCY_EDGES)[0]
        answers.attempts.update(counted(table["attempts"]))
        _count_faults(answers, table)
        if len(parts) > SEGMENTS_AT_ONCE:
            parts = [_joined(parts)]
    answers.moments = _joined(parts)
    return answers


def _count_faults(answers: Answers, table: pa.Table) -> None:
    failed = table.filter(pc.is_valid(table["fault"]))
    for fault in pc.unique(failed["fault"]).to_pylist():
        examples = answers.examples.setdefault(fault, [])
        if len(examples) < FAULT_EXAMPLES:
            messages = pc.unique(failed.filter(pc.equal(failed["fault"], fault))["message"])
            examples += [message for message in messages[:FAULT_EXAMPLES].to_pylist() if message not in examples]
            del examples[FAULT_EXAMPLES:]


def counted(values: pa.ChunkedArray) -> Counter[Any]:
    """How often each value stands in a column."""
    return Counter({row["values"]: row["counts"] for row in values.value_counts().to_pylist()})


def _by_moment(table: pa.Table, began: float, width_s: float) -> pa.Table:
    ended = pc.fill_null(table["ended_at"], 0.0)
    failed = pc.cast(pc.is_valid(table["fault"]), pa.int64())
    sums = {name: pc.cast(table[name], pa.int64()) for name in COUNTED}
    return _joined(
        [
            pa.table(
                {
                    "server": pc.fill_null(table["server"], ""),
                    "moment": pc.cast(pc.floor(pc.divide(pc.subtract(ended, began), width_s)), pa.int64()),
                    **sums,
                    "answers": pc.subtract(1, failed),
                    "failed": failed,
                    "first": pc.subtract(ended, table["latency_s"]),
                    "last": ended,
                },
                _empty().schema,
            )
        ]
    )


def _joined(parts: list[pa.Table]) -> pa.Table:
    """The rows of several tables of moments, one for each server and moment."""
    rules = [*((name, "sum") for name in SUMS), ("first", "min"), ("last", "max")]
    summed = pa.concat_tables(parts).group_by(["server", "moment"]).aggregate(rules)
    names = {f"{name}_{rule}": name for name, rule in rules}
    return summed.rename_columns([names.get(name, name) for name in summed.column_names]).select(
        _empty().schema.names
    )
