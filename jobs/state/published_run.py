"""What a run left behind, as a reader finds it: the published profiles, and the plan and answers they came from."""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel

from extraction.chunking.chunker import Chunk
from extraction.config.settings import profile_model
from extraction.errors import OperatorError
from jobs.state import manifest
from jobs.state.ledger import LEDGERS, Ledger, digests
from jobs.state.parquet_schemas import chunks_of
from jobs.state.storage import Storage, explained

CHUNKS_READ_AT_ONCE = 500  # at a time
NO_KIND = "documents"  # of no type
PLAN_ROWS_READ = 10_000  # of a few small columns, at a time
PIECE_TYPE = "pieces.list.element.document_type"
Values = dict[str, Any]


@dataclass(frozen=True)
class PublishedRun:
    """One output folder and the run that is published in it."""

    storage: Storage
    manifest: manifest.Manifest

    @classmethod
    def at(cls, given: str, flag: str = "--profiles") -> "PublishedRun":
        """Open an output folder or URL, which `flag` gave. Raises OperatorError where nothing is published."""
        storage = Storage(given)
        with explained(f"{flag} {given} can't be read"):
            record = manifest.read_manifest(storage)
        if record is None:
            missing = f"there is no {manifest.MANIFEST} that can be read, so nothing is published there"
            raise OperatorError(f"{flag} {given}: {missing}{_what_is_there(storage)}")
        return cls(storage, record)

    def profiles(self) -> Iterator[Values]:
        """The rows of all profiles."""
        for file in self.manifest.profiles:
            yield from self.storage.read_table(file.path).to_pylist()

    def schema(self) -> pa.Schema:
        """The columns of the profiles; none where there is no profile."""
        paths = [file.path for file in self.manifest.profiles[:1]]
        return self.storage.schema(paths[0]) if paths else pa.schema([])

    def model(self) -> type[BaseModel]:
        """The profile model of the run."""
        return profile_model(self.manifest.profile)

    def planned(self) -> dict[str, list[str]]:
        """The ids of each company's chunks; none where the run's plan is gone."""
        companies: dict[str, list[str]] = defaultdict(list)
        for path in self.chunk_files:
            table = self.storage.read_table(path, ["company_id", "chunk_id"])
            for company_id, chunk_id in zip(*(column.to_pylist() for column in table.columns), strict=True):
                companies[company_id].append(chunk_id)
        return dict(companies)

    def kinds(self) -> dict[str, str]:
        """The type that most documents of each company have; none where the run's plan is gone."""
        counted: dict[str, Counter[str]] = defaultdict(Counter)
        for path in self.chunk_files:
            for table in self.storage.read_batches(path, PLAN_ROWS_READ, ["company_id", PIECE_TYPE]):
                for row in table.to_pylist():
                    counted[row["company_id"]].update(p["document_type"] or NO_KIND for p in row["pieces"])
        return {company_id: kinds.most_common(1)[0][0] for company_id, kinds in counted.items()}

    def chunks(self, companies: Collection[str]) -> Iterator[Chunk]:
        """The chunks of some companies."""
        ordered = sorted(companies)
        wanted = pa.array(ordered, pa.string())
        for path in self.chunk_files:
            if not self.may_hold(path, ordered):
                continue
            for table in self.storage.read_batches(path, CHUNKS_READ_AT_ONCE):
                yield from chunks_of(table.filter(pc.is_in(table["company_id"], value_set=wanted)))

    def may_hold(self, path: str, companies: Sequence[str]) -> bool:
        """Whether a file of chunks or profiles may hold any of some companies (in order), by its footer."""
        with self.storage.filesystem.open(self.storage.full(path), "rb") as file:
            footer = pq.read_metadata(file)
        column = footer.schema.names.index("company_id")
        known = [footer.row_group(n).column(column).statistics for n in range(footer.num_row_groups)]
        if not all(one and one.has_min_max for one in known):
            return True
        return any(bisect_left(companies, one.min) < bisect_right(companies, one.max) for one in known)

    def answers(self, chunk_ids: Collection[str]) -> pa.Table:
        """What the ledger holds of some chunks."""
        ids = sorted(chunk_ids)
        return self.ledger.read(self.ledger.index().places(digests(ids)), pa.array(ids, pa.string()))

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger that the run took its answers from."""
        elsewhere = self.manifest.ledger
        ledgers = Storage(elsewhere) if elsewhere else self.storage.under(LEDGERS)
        return Ledger(ledgers, self.manifest.fingerprint)

    @cached_property
    def chunk_files(self) -> list[str]:
        """The files of the run's plan; none where it is gone."""
        return self.storage.list(f"work/runs/{self.manifest.run_id}/chunks", ".parquet")


def _what_is_there(storage: Storage) -> str:
    """Of an output without a manifest why that may be so."""
    if "backfill" in storage.folders("work"):
        inner = sorted(set(storage.folders("")) - {"work"})
        return f": a backfill's output has one in each partition's folder, such as {inner[0]}" if inner else ""
    return ": a run has begun and is not finished, the same command goes on" if storage.folders("work/runs") else ""
