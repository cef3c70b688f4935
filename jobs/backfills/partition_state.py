"""Where a partition stands: the record that its last run left beside its manifest, and what that comes to.

    <output>/<partition>/backfill.json

Whoever deletes a partition's folder has it made again.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.errors import RunError
from jobs.backfills.budget import Spent
from jobs.backfills.partitions import Partition
from jobs.state import manifest
from jobs.state.manifest import Counts
from jobs.state.storage import Storage

STATE_FILE = "backfill.json"
STATE_READERS = 16
Name = Literal["new", "changed", "failed", "incomplete", "done"]


class PartitionRecord(BaseModel):
    """What a partition was last made of, and what came of it; a newer version may add keys.

    `recipe` is a digest of all settings that decide what is published, `unanswered` the number of chunks that a
    server's fault left without an answer, `attempts` how often this was tried with the same input and recipe.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    input: str
    files: Annotated[int, Field(ge=0)]
    bytes: Annotated[int, Field(ge=0)]
    recipe: str
    fingerprint: str
    run_id: str
    exit_code: int
    error: str | None = None
    attempts: Annotated[int, Field(ge=1)] = 1
    counts: Counts | None = None
    unanswered: Annotated[int, Field(ge=0)] = 0
    spent: Spent = Spent()
    began_at: str
    ended_at: str

    @property
    def published(self) -> bool:
        """Whether the run came to its end."""
        return self.counts is not None

    def write(self, storage: Storage) -> None:
        """Put it in place."""
        storage.write(STATE_FILE, (self.model_dump_json(indent=2) + "\n").encode())


@dataclass(frozen=True)
class Standing:
    """A partition, its last record, and whether it is to be run."""

    partition: Partition
    record: PartitionRecord | None
    name: Name

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self.name != "done"

    @property
    def dead_letters(self) -> int:
        """How many it was last published with."""
        return self.record.counts.dead_letters if self.record and self.record.counts else 0


def standings(output: Storage, partitions: Sequence[Partition], recipe: str, most: int) -> list[Standing]:
    """Where each partition stands for a recipe. One with chunks that no server answered is tried `most` times."""

    def one(partition: Partition) -> Standing:
        storage = output.under(partition.path)
        record = read_partition(storage)
        return Standing(partition, record, _name(partition, record, storage, recipe, most))

    with ThreadPoolExecutor(STATE_READERS) as threads:
        return list(threads.map(one, partitions))


def _name(partition: Partition, record: PartitionRecord | None, storage: Storage, recipe: str, most: int) -> Name:
    if record is None:
        return "new"
    if (record.input, record.recipe) != (partition.digest, recipe):
        return "changed"
    if not record.published:
        return "failed"
    if _published(storage) != record.run_id:
        return "changed"
    return "incomplete" if record.unanswered and record.attempts < most else "done"


def _published(storage: Storage) -> str | None:
    """The run whose profiles are shown there; None where none are, or the manifest is torn."""
    try:
        shown = manifest.read_manifest(storage)
    except RunError:
        return None
    return shown.run_id if shown else None


def read_partition(storage: Storage) -> PartitionRecord | None:
    """A partition's record; None where there is none that can be read."""
    data = storage.read(STATE_FILE)
    try:
        return PartitionRecord.model_validate_json(data) if data else None
    except ValidationError:
        return None


def tally(standings: Sequence[Standing]) -> Mapping[Name, int]:
    """How many partitions stand where."""
    counts: dict[Name, int] = {}
    for each in standings:
        counts[each.name] = counts.get(each.name, 0) + 1
    return counts
