"""A share: what one partition has in a sweep, and whose each of the sweep's chunks is."""

import datetime
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from extraction.errors import OperatorError
from jobs.backfills.budget import Spent
from jobs.backfills.standing import Record, Standing
from jobs.cli.command import FAILED, LOG, MISTAKE
from jobs.stages import cluster
from jobs.stages.plan import Plan
from jobs.stages.pool import Work
from jobs.state.digests import Digests, Numbers, digests, find, first_of_each, order
from jobs.state.run import Run

NOTHING, NO_PLAN = Spent(), Plan((), (), 0, 0, 0, True)
NO_WORK = Work({}, digests([]), 0)


def now() -> str:
    """The time as records have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


@dataclass
class Share:
    """A partition in a sweep. `left` is how many of its own requests have no answer yet, `done` how many have one,
    `failed` how many of these have no profile; `record` is what came of it, `error` why it could not be planned."""

    standing: Standing
    run: Run
    recipe: str
    began_at: str = field(default_factory=now)
    planned: Plan = NO_PLAN
    work: Work = NO_WORK
    left: int = 0
    done: int = 0
    failed: int = 0
    spent: Spent = NOTHING
    record: Record | None = None
    error: Exception | None = None

    @property
    def path(self) -> str:
        """The partition's path."""
        return self.standing.partition.path

    @property
    def suspect(self) -> bool:
        """Whether so many of its answers failed that it would break a run."""
        return self.failed > self.run.settings.breaker.failed_fraction * self.done

    def take(self, answers: pa.Table, spent: Spent) -> None:
        """Count answers of its own, and what they took."""
        self.left -= answers.num_rows
        self.done += answers.num_rows
        self.failed += answers.num_rows - answers["fault"].null_count
        self.spent += spent

    def end(self, exit_code: int, **more: Any) -> None:
        """Keep what came of it, beside its manifest too."""
        partition, last = self.standing.partition, self.standing.record
        again = last is not None and (last.input, last.recipe) == (partition.digest, self.recipe)
        self.record = Record(
            input=partition.digest,
            files=len(partition.files),
            bytes=partition.bytes,
            recipe=self.recipe,
            fingerprint=self.run.fingerprint,
            run_id=self.run.run_id,
            exit_code=exit_code,
            attempts=last.attempts + 1 if last and again else 1,
            spent=self.spent,
            began_at=self.began_at,
            ended_at=now(),
            **more,
        )
        self.record.write(self.run.storage)

    def fail(self, error: Exception) -> None:
        """Keep that it failed, and why."""
        ours = cluster.reason(error)
        told = " ".join(str(ours or f"{type(error).__name__}: {error}").split())
        LOG.print(f"failed   {self.path}: {told}", markup=False)
        with suppress(OSError):  # the next tick finds it as it was before
            self.end(MISTAKE if isinstance(ours, OperatorError) else FAILED, error=told[:1000])


class Owners:
    """Whose each chunk of a sweep is: the first partition's that asks for it."""

    def __init__(self, missing: Sequence[Digests]) -> None:
        ids = np.concatenate([np.empty((0, 2), np.uint64), *missing])
        owners = np.repeat(np.arange(len(missing)), [len(some) for some in missing])
        once = first_of_each(ids)
        ids, owners = ids[once], owners[once]
        self.counts: Numbers = np.bincount(owners, minlength=len(missing))
        ordered = order(ids)
        self._ids, self._owners = ids[ordered], owners[ordered]

    def of(self, chunk_ids: pa.ChunkedArray) -> Numbers:
        """The owner's number for each of some chunks."""
        found = np.full(len(chunk_ids), -1)
        row, place = find(self._ids, digests(chunk_ids.to_pylist()))
        found[row] = self._owners[place]
        return found
