"""The ledger: the result of every request, across all runs. A content-addressed cache.

    <output>/work/ledger/<fingerprint>/<run>.<actor>.<number>.parquet

It is append-only: an actor writes immutable segments of its own, so writers never meet, and a segment is there
whole or not at all. A chunk that stands in several segments counts once, so small segments can be folded into
larger ones at any
time: the larger is written before the small ones go. The index keeps ids as 128 bits each, so that those of a whole
backfill fit in memory.
"""

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.results import RESULT_TEXTS, RESULTS, Result
from extraction.errors import Fault, RunError
from jobs.state.storage import Storage, in_threads, is_outage

SIZE = 16  # bytes: among 10 billion ids the odds that two share a digest are about 1 in 10^19
Digests = npt.NDArray[np.uint64]  # a row an id: its high and its low half
RowNumbers = npt.NDArray[np.int64]


def digests(ids: Iterable[str]) -> Digests:
    """The digests of some ids, in their order."""
    data = b"".join(hashlib.blake2b(each.encode(), digest_size=SIZE).digest() for each in ids)
    return np.frombuffer(data, np.uint64).reshape(-1, 2)


def order(some: Digests) -> RowNumbers:
    """Row numbers that put digests in order; equal ones stay as they stood."""
    return np.lexsort((some[:, 1], some[:, 0]))


def first_of_each(some: Digests) -> RowNumbers:
    """Row numbers, in order, of those that no equal one stands before."""
    by_value = order(some)
    ordered = some[by_value]
    new = np.ones(len(some), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(by_value[new])


def find_ids(ordered: Digests, wanted: Digests) -> tuple[RowNumbers, RowNumbers]:
    """Where digests stand among ordered ones, as pairs of row numbers in `wanted` and in `ordered`."""
    asked = order(wanted)  # ordered questions keep to one part of memory after the other
    high = ordered[:, 0]
    first = np.searchsorted(high, wanted[asked, 0], "left")
    counts = np.searchsorted(high, wanted[asked, 0], "right") - first
    question = np.repeat(asked, counts)
    place = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(question))
    equal = ordered[place, 1] == wanted[question, 1]
    return question[equal], place[equal]


RETRYABLE_FAULTS = pa.array([fault.value for fault in Fault if fault.retryable], pa.string())
States = npt.NDArray[np.uint8]


class ChunkState(IntEnum):
    """What became of a chunk; of several, the greatest counts."""

    UNKNOWN = 0
    RETRYABLE = 1  # failed by a server's fault: to be asked again
    FAILED = 2  # by a fault of its own: asked again only on request
    ANSWERED = 3

    @classmethod
    def required(cls, *, retry_failed: bool) -> "ChunkState":
        """The state that a run wants of every chunk: it asks for those of which the ledger has less."""
        return cls.ANSWERED if retry_failed else cls.FAILED


@dataclass(frozen=True)
class Segment:
    """A segment's keys, in the order of its rows."""

    path: str
    ids: Digests
    states: States

    @classmethod
    def of(cls, path: str, keys: pa.Table) -> "Segment":
        """From its columns `chunk_id` and `fault`."""
        fault = keys["fault"]
        states = pc.if_else(
            pc.is_in(fault, value_set=RETRYABLE_FAULTS), int(ChunkState.RETRYABLE), int(ChunkState.FAILED)
        )
        states = pc.if_else(pc.is_null(fault), int(ChunkState.ANSWERED), states)
        return cls(path, digests(keys["chunk_id"].to_pylist()), states.to_numpy().astype(np.uint8))


class Index:
    """What some segments hold: some 45 bytes a row. `skipped` are the files beside them that are none."""

    def __init__(self, segments: Sequence[Segment], skipped: tuple[str, ...] = ()) -> None:
        self.segments, self.skipped = tuple(segments), skipped
        ids = np.concatenate([np.empty((0, 2), np.uint64), *(segment.ids for segment in segments)])
        ordered = order(ids)
        lengths = [len(segment.ids) for segment in segments]
        rows = [np.arange(length, dtype=np.int32) for length in lengths]
        self._ids = ids[ordered]
        self._states = np.concatenate([np.empty(0, np.uint8), *(segment.states for segment in segments)])[ordered]
        self._segment = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[ordered]
        self._row = np.concatenate([np.empty(0, np.int32), *rows])[ordered]

    def __len__(self) -> int:
        return len(self._ids)

    def states(self, ids: Digests) -> States:
        """What became of each of some chunks."""
        states = np.zeros(len(ids), np.uint8)
        question, place = find_ids(self._ids, ids)
        np.maximum.at(states, question, self._states[place])
        return states

    def places(self, ids: Digests) -> dict[str, RowNumbers]:
        """Where some chunks stand: row numbers by the path of the segment. A chunk may stand more than once."""
        _, place = find_ids(self._ids, ids)
        segment, row = self._segment[place], self._row[place]
        return {self.segments[n].path: np.sort(row[segment == n]) for n in np.unique(segment).tolist()}


LEDGERS = "work/ledger"  # in an output, unless its run names another place
KEYS = pa.schema([RESULTS.field(name) for name in ("chunk_id", "fault")])
LOOKS = 5  # at a ledger whose segments are being folded
FOLDED_ROWS = 2_000  # of an actor's own small segments: some minutes of work


@dataclass(frozen=True)
class Ledger:
    """The answers for one fingerprint, in a folder of a storage that may hold those of several outputs."""

    storage: Storage
    fingerprint: str

    @property
    def folder(self) -> str:
        """Where the segments are."""
        return self.fingerprint[:16]

    def paths(self) -> list[str]:
        """The files that should be segments, in order."""
        return self.storage.list(self.folder, ".parquet")

    def index(self, known: Index | None = None) -> Index:
        """What the ledger holds now; of segments that `known` has, nothing is read again.

        A torn or foreign file is skipped and named in `skipped`.
        """
        had = {segment.path: segment for segment in known.segments} if known else {}
        for _ in range(LOOKS):
            paths = self.paths()
            try:
                read = in_threads(lambda path: had.get(path) or self._segment(path), paths)
            except FileNotFoundError:  # folded since it was listed: its rows stand in another
                continue
            segments = [segment for segment in read if segment]
            skipped = tuple(path for path, segment in zip(paths, read, strict=True) if not segment)
            return Index(segments, skipped)
        raise RunError(f"{self.storage.full(self.folder)} changed {LOOKS} times while it was read: run again")

    def _segment(self, path: str) -> Segment | None:
        """A segment's keys, None where the file is none."""
        try:
            keys = self.storage.read_table(path, KEYS.names)
        except (pa.ArrowException, OSError, KeyError) as error:
            if is_outage(error):
                raise
            return None
        return Segment.of(path, keys) if keys.schema == KEYS else None

    def read(self, places: Mapping[str, Sequence[int] | RowNumbers], chunk_ids: pa.Array) -> pa.Table:
        """The answers to some chunks, which an index found in some rows of segments, one each: a profile rather
        than a fault, a fault of the document rather than one of the server. The same rows give the same answers
        in whatever order they stand.
        """
        try:
            tables = [self.storage.read_rows(path, rows) for path, rows in places.items()]
        except FileNotFoundError:  # folded meanwhile
            return self.read(self.index().places(digests(chunk_ids.to_pylist())), chunk_ids)
        return best_of(tables, chunk_ids)

    def append(self, name: str, answers: pa.Table, rows_per_group: int | None = None) -> str:
        """Write one segment; its path. `name` tells who wrote it."""
        path = f"{self.folder}/{name}.{uuid.uuid4().hex[:12]}.parquet"
        self.storage.write_table(path, answers, rows_per_group)
        return path


def best_of(tables: Sequence[pa.Table], chunk_ids: pa.Array | None = None) -> pa.Table:
    """The best answer to each chunk, or to each of some, among rows of segments.

    The best is the first in one order of all rows, so what is left out of a part would be left out of the whole.
    """
    results = pa.concat_tables([RESULTS.empty_table(), *tables], promote_options="default")  # of older versions
    results = results.select(RESULTS.names)
    if chunk_ids is not None:
        results = results.filter(pc.is_in(results["chunk_id"], value_set=chunk_ids))
    results = results.take(_in_order(results))
    return results.take(_first_of_each(results["chunk_id"]))


@dataclass
class LedgerWriter:
    """Writes the segments of one actor in one run. It folds its own small segments as they become many."""

    ledger: Ledger
    run_id: str
    actor: str
    small: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What its segments' names begin with."""
        return f"{self.run_id}.{self.actor}"

    def completed(self) -> dict[str, Result]:
        """What became of the chunks that this actor wrote down in this run before it was restarted; without the
        replies, which are safe where they are."""
        names = [each.name for each in fields(Result) if each.name not in RESULT_TEXTS]
        completed: dict[str, Result] = {}
        for path in self.ledger.paths():
            if path.startswith(f"{self.ledger.folder}/{self.name}."):
                try:
                    rows = self.ledger.storage.read_table(path, names).to_pylist()
                except FileNotFoundError:  # another run that shares the ledger has folded it
                    continue
                completed |= {row["chunk_id"]: _answer(row) for row in rows}
        return completed

    def append(self, answers: list[Result]) -> None:
        """Write one segment."""
        table = pa.Table.from_pylist([asdict(answer) for answer in answers], RESULTS)
        self.small[self.ledger.append(self.name, table)] = table
        if sum(one.num_rows for one in self.small.values()) >= FOLDED_ROWS:
            self._fold()

    def _fold(self) -> None:
        small, self.small = self.small, {}
        if len(small) > 1:
            self.ledger.append(self.name, pa.concat_tables(small.values()))
            self.ledger.storage.delete(small)


def _answer(row: dict[str, Any]) -> Result:
    return Result(**{**row, "fault": row["fault"] and Fault(row["fault"])})


def _in_order(results: pa.Table) -> pa.Array:
    """Row numbers, the best answers first; all columns decide, so that no order of files or rows shows. (Those with
    the same replies at the same time have the same scores.)"""
    again = pc.is_in(results["fault"], value_set=RETRYABLE_FAULTS)
    rank = pc.add(pc.cast(pc.is_valid(results["fault"]), pa.int8()), pc.cast(again, pa.int8()))
    plain = results.drop_columns(list(RESULT_TEXTS)).append_column("rank", rank)
    plain = plain.append_column("replies", pc.binary_join(results["replies"], "\n"))
    return pc.sort_indices(plain, sort_keys=[(name, "ascending") for name in ("rank", *plain.schema.names)])


def _first_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Row numbers of the first occurrence of each id."""
    numbered = pa.table({"id": ids, "row": pa.array(range(len(ids)), pa.int64())})
    return numbered.group_by("id", use_threads=False).aggregate([("row", "min")])["row_min"].combine_chunks()
