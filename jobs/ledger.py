"""The ledger: what every question was answered, once and for all runs.

    <output>/work/ledger/<fingerprint>/<run>.<actor>.<number>.parquet

Append-only: an actor writes immutable segments of its own, so writers never meet, and a segment is there
whole or not at all. A chunk that stands in several segments counts once.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from actors.client import Answer
from actors.extractor import ANSWERS
from extraction.errors import Fault
from jobs.storage import Storage, is_outage

LEDGERS = "work/ledger"  # in an output, unless its run was told of another place
RETRYABLE = [fault.value for fault in Fault if fault.retryable]
KEYS = ["chunk_id", "fault"]


@dataclass(frozen=True)
class Ledger:
    """The answers for one fingerprint, in a folder of a storage that may hold those of several outputs."""

    storage: Storage
    fingerprint: str

    @property
    def folder(self) -> str:
        """Where the segments are."""
        return self.fingerprint[:16]

    def index(self) -> "Index":
        """What the ledger holds now. A torn or foreign file is skipped and named in `skipped`."""
        paths, tables, skipped = [], [], []
        for path in self.storage.list(self.folder, ".parquet"):
            try:
                table = self.storage.read_table(path, KEYS)
                if table.schema != pa.schema([ANSWERS.field(key) for key in KEYS]):
                    raise pa.ArrowInvalid("other columns")
            except (pa.ArrowException, OSError, KeyError) as error:
                if is_outage(error):
                    raise
                skipped.append(path)
                continue
            paths.append(path)
            tables.append(table)
        return Index(self, paths, tables, tuple(skipped))

    def read(self, paths: Iterable[str], chunk_ids: pa.Array) -> pa.Table:
        """The answers to some chunks in some segments, one each: a profile rather than a fault, a fault of the
        document rather than one of the server. The same rows give the same answers in whatever order they stand.
        """
        tables = [self.storage.read_table(path) for path in paths]
        found = pa.concat_tables([ANSWERS.empty_table(), *tables], promote_options="default")  # of older versions
        found = found.select(ANSWERS.names)
        found = found.filter(pc.is_in(found["chunk_id"], value_set=chunk_ids))
        found = found.take(_in_order(found))
        return found.take(_first_of_each(found["chunk_id"]))


class Index:
    """Which chunks have an answer, which failed, and in which segment."""

    def __init__(
        self, ledger: Ledger, paths: Sequence[str], tables: Sequence[pa.Table], skipped: tuple[str, ...]
    ) -> None:
        self.ledger, self.paths, self.skipped = ledger, list(paths), skipped
        empty = pa.schema([ANSWERS.field(key) for key in KEYS]).empty_table()
        self._rows = pa.concat_tables([empty, *tables]).combine_chunks()
        self._segment: npt.NDArray[np.int32] = np.repeat(
            np.arange(len(tables), dtype=np.int32), [table.num_rows for table in tables]
        )

    @cached_property
    def known(self) -> pa.Array:
        """Ids of the chunks that were asked about, whatever came of it."""
        return pc.unique(self._rows["chunk_id"])

    @cached_property
    def answered(self) -> pa.Array:
        """Ids of the chunks that have a profile."""
        return pc.unique(self._rows["chunk_id"].filter(pc.is_null(self._rows["fault"])))

    @cached_property
    def settled(self) -> pa.Array:
        """Ids of the chunks that need not be asked again: answered, or failed by the document's own fault."""
        again = pc.is_in(self._rows["fault"], value_set=pa.array(RETRYABLE, pa.string()))
        return pc.unique(self._rows["chunk_id"].filter(pc.invert(again)))

    def segments_of(self, chunk_ids: pa.Array) -> list[str]:
        """The segments in which some chunks stand."""
        mask = pc.is_in(self._rows["chunk_id"], value_set=chunk_ids).to_numpy(zero_copy_only=False)
        return [self.paths[n] for n in np.unique(self._segment[mask])]


@dataclass
class LedgerWriter:
    """The journal of one actor in one run."""

    ledger: Ledger
    run_id: str
    actor: str

    def held(self) -> dict[str, Answer]:
        """What this actor wrote in this run before it was restarted."""
        mine = f"{self.ledger.folder}/{self.run_id}.{self.actor}."
        names = [field.name for field in fields(Answer)]
        found: dict[str, Answer] = {}
        for path in self.ledger.storage.list(self.ledger.folder, ".parquet"):
            if path.startswith(mine):
                rows = self.ledger.storage.read_table(path).select(names).to_pylist()
                found |= {row["chunk_id"]: _answer(row) for row in rows}
        return found

    def append(self, answers: list[Answer]) -> None:
        """Write one segment."""
        table = pa.Table.from_pylist([asdict(answer) for answer in answers], ANSWERS)
        path = f"{self.ledger.folder}/{self.run_id}.{self.actor}.{uuid.uuid4().hex[:12]}.parquet"
        self.ledger.storage.write_table(path, table)


def _answer(row: dict[str, Any]) -> Answer:
    fault = row["fault"] and Fault(row["fault"])
    return Answer(**{**row, "replies": tuple(row["replies"]), "fault": fault})


def _in_order(found: pa.Table) -> pa.Array:
    """Row numbers, the best answers first; all columns decide, so that no order of files or rows shows."""
    again = pc.is_in(found["fault"], value_set=pa.array(RETRYABLE, pa.string()))
    rank = pc.add(pc.cast(pc.is_valid(found["fault"]), pa.int8()), pc.cast(again, pa.int8()))
    plain = found.set_column(found.schema.names.index("replies"), "replies", pc.binary_join(found["replies"], "\n"))
    keys = [(name, "ascending") for name in ("rank", *plain.schema.names)]
    return pc.sort_indices(plain.append_column("rank", rank), sort_keys=keys)


def _first_of_each(ids: pa.ChunkedArray) -> pa.Array:
    """Row numbers of the first occurrence of each id."""
    numbered = pa.table({"id": ids, "row": pa.array(range(len(ids)), pa.int64())})
    return numbered.group_by("id", use_threads=False).aggregate([("row", "min")])["row_min"].combine_chunks()
