"""What a run left behind, as a reader finds it: the published profiles, and the plan and answers they came from."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from actors.extractor import ANSWERS
from extraction.arrow import struct_of
from extraction.chunking import Chunk
from extraction.company import CompanyProfile, ShortProfile
from extraction.errors import OperatorError
from extraction.settings import profile_model
from jobs import manifest
from jobs.digests import digests
from jobs.ledger import LEDGERS, Ledger
from jobs.plan import chunks_of
from jobs.storage import Storage

MODELS: tuple[type[BaseModel], ...] = (CompanyProfile, ShortProfile)
Values = dict[str, Any]


@dataclass(frozen=True)
class Published:
    """One output folder and the run that is published in it."""

    storage: Storage
    manifest: manifest.Manifest

    @classmethod
    def at(cls, given: str) -> "Published":
        """Open an output folder or URL. Raises OperatorError where nothing is published."""
        storage = Storage(given)
        try:
            found = manifest.read(storage)
        except OSError as error:
            raise OperatorError(f"--profiles {given} can't be read: {error.strerror or error}") from None
        if found is None:
            raise OperatorError(f"--profiles {given}: there is no {manifest.NAME}, so nothing is published there")
        return cls(storage, found)

    def profiles(self) -> Iterator[Values]:
        """The rows of all profiles."""
        for file in self.manifest.profiles:
            yield from self.storage.read_table(file.path).to_pylist()

    def model(self) -> type[BaseModel]:
        """The profile model of the run; of an older one, the project's own whose fields the columns are."""
        if self.manifest.profile:
            return profile_model(self.manifest.profile)
        columns = {name for file in self.manifest.profiles[:1] for name in self.storage.columns(file.path)}
        shared = {model: len(columns & {column.name for column in struct_of(model)}) for model in MODELS}
        best = max(MODELS, key=shared.__getitem__)
        if not shared[best]:
            raise OperatorError("the profiles are of another model: name it with --schema MODULE:MODEL")
        return best

    def planned(self) -> dict[str, list[str]]:
        """The ids of each company's chunks; none where the run's plan is gone."""
        companies: dict[str, list[str]] = defaultdict(list)
        for path in self._chunk_files():
            table = self.storage.read_table(path, ["company_id", "chunk_id"])
            for company_id, chunk_id in zip(*(column.to_pylist() for column in table.columns), strict=True):
                companies[company_id].append(chunk_id)
        return dict(companies)

    def chunks(self, ids: Collection[str], of: Literal["company_id", "chunk_id"] = "company_id") -> Iterator[Chunk]:
        """The chunks of some companies, or some chunks."""
        wanted = pa.array(sorted(ids), pa.string())
        for path in self._chunk_files():
            table = self.storage.read_table(path)
            yield from chunks_of(table.filter(pc.is_in(table[of], value_set=wanted)))

    def answers(self, chunk_ids: Collection[str]) -> pa.Table | None:
        """What the ledger holds of some chunks; None where it is of a version that told less."""
        elsewhere = self.manifest.ledger
        ledgers = Storage(elsewhere) if elsewhere else self.storage.under(LEDGERS)
        ledger = Ledger(ledgers, self.manifest.fingerprint)
        ids = sorted(chunk_ids)
        places = ledger.index().places(digests(ids))
        whole = all(set(ANSWERS.names) <= set(ledgers.columns(path)) for path in places)
        return ledger.read(places, pa.array(ids, pa.string())) if whole else None

    def _chunk_files(self) -> list[str]:
        return self.storage.list(f"work/runs/{self.manifest.run_id}/chunks", ".parquet")
