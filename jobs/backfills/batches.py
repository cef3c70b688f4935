"""What a backfill is to do: partitions by their state, and batches of them with their plans."""

import datetime
import math
import time
from collections.abc import Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property

import numpy as np
import pyarrow as pa

from extraction.errors import OperatorError
from jobs.backfills.budget import Budget
from jobs.backfills.config import Declaration
from jobs.backfills.partition_run import PartitionRun
from jobs.backfills.partition_state import PartitionStatus, read_statuses, recipe_of
from jobs.backfills.partitions import Pattern, partitions_in_window
from jobs.backfills.window import window_run
from jobs.cli.command import LOG
from jobs.inputs import document_reader
from jobs.inputs.column_mapping import OPTIONAL
from jobs.inputs.file_discovery import WRITTEN_FILE
from jobs.reports.lineage import Lineage
from jobs.stages import extract, plan, ray_cluster
from jobs.stages.run import Run, logs_of, new_run_id
from jobs.state.ledger import (
    LEDGERS,
    ChunkState,
    Index,
    RowNumbers,
    digests,
    find_ids,
    first_of_each,
    order,
)
from jobs.state.output_table import check_table
from jobs.state.parquet_schemas import profile_schema
from jobs.state.storage import storage_at

PLANNERS = 8  # partitions planned at a time
PLANNING = 0.25  # of the time that is left before a deadline
MOST_REQUESTS = 5_000_000  # of a batch: the driver has some 60 bytes for each


class Batch:
    """Partitions that are planned and asked about together, as one run over the whole output.

    index: what the ledger held before; chunks of which it holds less than the state `required` are asked for. The
    first partition that asks for a chunk is charged with the request.
    """

    def __init__(self, run: Run, index: Index, required: ChunkState, partitions: Sequence[PartitionRun]) -> None:
        self.run, self.index, self.required, self.partitions = run, index, required, partitions
        missing = [each.work.ids[index.states(each.work.ids) < required] for each in partitions]
        ids = np.concatenate([np.empty((0, 2), np.uint64), *missing])
        numbers = np.repeat(np.arange(len(missing)), [len(some) for some in missing])
        for number, requests in zip(*np.unique(numbers[first_of_each(ids)], return_counts=True), strict=True):
            partitions[number].requests = int(requests)
        ordered = order(ids)
        self._ids, self._numbers = ids[ordered], numbers[ordered]

    def asking_for(self, chunk_ids: pa.ChunkedArray) -> Iterator[tuple[PartitionRun, int, RowNumbers]]:
        """The partitions that ask for some chunks, for how many of them, and the rows charged to each."""
        rows, places = find_ids(self._ids, digests(chunk_ids.to_pylist()))
        numbers = self._numbers[places]
        first = np.unique(rows, return_index=True)[1]  # pairs of one row stand in the partitions' order
        for number, chunks in zip(*np.unique(numbers, return_counts=True), strict=True):
            yield self.partitions[number], int(chunks), rows[first[numbers[first] == number]]


class Backfill:
    """A declared backfill. `whole` is the run over the whole output, which has the ledger that partitions share.

    With `again` partitions that are done are published again, with `retry_failed` chunks that failed by their
    document's fault are asked again.
    """

    def __init__(self, declared: Declaration, *, again: bool = False, retry_failed: bool = False) -> None:
        self.declared, self.again, self.retry_failed = declared, again, retry_failed
        self._partitions = partitions_in_window(declared, datetime.datetime.now(datetime.UTC).date())
        settings, servers = declared.extract.resolve()
        output, run_id = storage_at(declared.output, "output"), new_run_id()
        pattern = Pattern(declared.input)
        for partition in self._partitions:
            if pattern.would_read(output, f"{partition.path}/{WRITTEN_FILE}"):
                raise OperatorError(
                    f"output: {declared.output} is within input: {declared.input}, which would take in the files "
                    "that a run writes there: give a place beside the input"
                )
        self.whole = Run(run_id, settings, servers, output, logs_of(run_id), output.under(LEDGERS))
        schema, self.window = profile_schema(self.whole.model), window_run(self.whole, declared.output_table)
        for table in declared.output_table:
            check_table(table, self.window.storage, schema)
        self.lineage = Lineage(settings.lineage)

    @property
    def required(self) -> ChunkState:
        """Chunks of which the ledger has less than this state are asked for."""
        return ChunkState.required(retry_failed=self.retry_failed)

    def statuses(self) -> list[PartitionStatus]:
        """The partitions of the window, in the order in which they are run, each with its state."""
        return read_statuses(self.whole.storage, self._partitions, self.recipe, self.declared.attempts)

    @cached_property
    def recipe(self) -> str:
        """The digest of all that decides what is published."""
        return recipe_of(self.whole, self.declared.publish)

    def due(self, statuses: Sequence[PartitionStatus]) -> list[PartitionStatus]:
        """Those of some partitions that are to be run."""
        return [s for s in statuses if s.due or self.again or (self.retry_failed and s.failed)]

    @cached_property
    def _absent(self) -> Set[str]:
        """The columns that the settings name and no partition of the window has."""
        absent: Set[str] = {*OPTIONAL}
        columns = self.whole.settings.columns
        for partition in self._partitions:
            with suppress(OperatorError):  # it can't be read
                absent &= document_reader.look_over(sorted(partition.files), columns).absent.keys()
            if not absent:
                break
        return absent

    def plan(
        self, statuses: Sequence[PartitionStatus], index: Index, required: ChunkState, budget: Budget | None = None
    ) -> tuple[Batch, Sequence[PartitionStatus]]:
        """Plan partitions until there are enough requests, or so much of a budget's time is over that the others
        are left for another batch."""
        run, began, partitions = replace(self.whole, run_id=new_run_id()), time.monotonic(), list[PartitionRun]()
        most = min(MOST_REQUESTS, budget.requests_left) if budget else MOST_REQUESTS
        seconds, publishes = PLANNING * budget.seconds_left if budget else math.inf, self.declared.publish
        with ThreadPoolExecutor(PLANNERS) as threads:
            while statuses and sum(each.left for each in partitions) < most:
                some, statuses = statuses[:PLANNERS], statuses[PLANNERS:]
                runs = [PartitionRun(s, replace(run, storage=run.storage.under(s.path)), publishes) for s in some]
                partitions += threads.map(lambda partition: _planned(partition, index, required), runs)
                if time.monotonic() - began > seconds:
                    break
        for name, message in partitions[0].absent.items() if partitions else ():
            if all(name in each.absent for each in partitions) and name in self._absent:
                raise OperatorError(message)
        return Batch(run, index, required, partitions), statuses


def _planned(partition: PartitionRun, index: Index, required: ChunkState) -> PartitionRun:
    try:
        files, columns = sorted(partition.status.partition.files), partition.run.settings.columns
        documents = document_reader.look_over(files, columns)
        partition.absent = documents.absent
        partition.planned = plan.plan(partition.run, documents)
        for note in (*documents.absent.values(), *partition.planned.notes):
            LOG.print(f"note     {partition.path}: {note}")
        partition.work = extract.work_of(partition.run, partition.planned, index, required)
        partition.left = partition.work.missing
    except Exception as error:
        partition.error = ray_cluster.reason(error) or error
    return partition
