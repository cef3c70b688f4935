"""The state of a partition, by the record that its last run left beside its manifest.

    <output>/<partition>/backfill.json

A partition whose folder is deleted is made again.
"""

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from extraction.merging.publish_decision import MERGING_VERSION
from extraction.schema.profile_model import fields
from jobs.backfills.partitions import Partition
from jobs.stages.cost_estimate import Spent
from jobs.stages.run import Run
from jobs.state import manifest
from jobs.state.manifest import Counts
from jobs.state.storage import Storage, StoredRecord, in_threads

STATE_FILE = "backfill.json"
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object, another one in each process
State = Literal["new", "changed", "failed", "incomplete", "done"]


class PartitionRecord(StoredRecord):
    """What a partition was last made of, and how that ended; a newer version may add keys.

    `recipe` is a digest of all settings that decide what is published, `unanswered` the number of chunks that a
    server's fault left without an answer, `attempts` how often the same input and recipe were run.
    """

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

    def is_of(self, partition: Partition, recipe: str) -> bool:
        """Whether it was made of this input by this recipe."""
        return (self.input, self.recipe) == (partition.digest, recipe)


@dataclass(frozen=True)
class PartitionStatus:
    """A partition, the record of its last run, and the state that follows."""

    partition: Partition
    record: PartitionRecord | None
    state: State

    @property
    def path(self) -> str:
        """The partition's path in the output."""
        return self.partition.path

    @property
    def due(self) -> bool:
        """Whether there is something to do."""
        return self.state != "done"

    @property
    def failed(self) -> bool:
        """Whether documents or chunks failed when it was last published. One that is published in a window alone
        knows of its chunks."""
        counts = self.record.counts if self.record else None
        return counts is not None and (counts.dead_letters > 0 or counts.chunks_answered < counts.chunks)


def recipe_of(run: Run, publish: str = "partition") -> str:
    """A digest of all that decides what is published of an input: settings, merge rules, how this version merges,
    and whether it is published for itself.

    Confidence counts as it is applied: by the calibration that fits the run, and the minima that follow.
    """
    settings, calibration = run.settings, run.calibration
    unused = {"fitted", "min_confidence", "precision", "reliability"}
    judging = {
        **settings.model_dump(mode="json", include={"profile", "columns", "limits", "trust"}),
        "calibration": calibration and calibration.model_dump(mode="json", exclude=unused),
        "min_confidence": run.minima,
        "rules": [[field.name, field.parts, vars(field.rule)] for field in fields(run.model)],
        "merging": MERGING_VERSION,
        **({"publish": publish} if publish == "window" else {}),
    }
    text = json.dumps([run.fingerprint, judging], sort_keys=True, default=_description)
    return hashlib.sha256(text.encode()).hexdigest()


def _description(part: Any) -> Any:
    """What tells a function of a rule, or what it works with, from another, the same in any process: its source,
    and the values that it is bound to."""
    part = inspect.unwrap(part) if callable(part) else part
    if isinstance(part, functools.partial):
        return [part.func, part.args, part.keywords]
    if inspect.isfunction(part):
        bound = {name: value for name, value in inspect.getclosurevars(part).nonlocals.items() if value != part}
        try:
            return [inspect.getsource(part), part.__defaults__, bound]
        except OSError:
            return [part.__code__.co_code.hex(), part.__defaults__, bound]
    return ADDRESS.sub("", repr(part))


def read_statuses(
    output: Storage, partitions: Sequence[Partition], recipe: str, attempts: int
) -> list[PartitionStatus]:
    """Partitions with their states for a recipe. One with chunks that no server answered is incomplete for so many
    `attempts`."""

    def status(partition: Partition) -> PartitionStatus:
        storage = output.under(partition.path)
        record = storage.read_record(STATE_FILE, PartitionRecord)
        return PartitionStatus(partition, record, _state(partition, record, storage, recipe, attempts))

    return in_threads(status, partitions)


def _state(
    partition: Partition, record: PartitionRecord | None, storage: Storage, recipe: str, attempts: int
) -> State:
    if record is None:
        return "new"
    if not record.is_of(partition, recipe):
        return "changed"
    if not record.published:
        return "failed"
    published = manifest.read_manifest(storage)
    if published is None or published.run_id != record.run_id:
        return "changed"
    return "incomplete" if record.unanswered and record.attempts < attempts else "done"
