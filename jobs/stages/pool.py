"""The extract stage: the chunks that the ledger does not hold go to a pool of extractors."""

import warnings
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy

from actors.client import Question
from actors.doubts import Notes
from actors.extractor import Extractor
from actors.journal import Journal
from actors.servers.server import Server
from jobs.stages import cluster
from jobs.stages.plan import Plan
from jobs.stages.pool_size import PoolSize, pool_size
from jobs.state.digests import Digests, Numbers, digests, first_of_each
from jobs.state.index import Index, State
from jobs.state.ledger import LedgerWriter
from jobs.state.notes import StoredNotes
from jobs.state.record import write_server
from jobs.state.run import Run


@dataclass(frozen=True)
class Work:
    """Chunks to ask for: row numbers by chunk file. `ids` has each question of the plan once."""

    rows: dict[str, Numbers]
    ids: Digests
    missing: int

    @property
    def chunks(self) -> int:
        """Number of questions in the plan."""
        return len(self.ids)

    def answered_of(self, index: Index) -> int:
        """How many of them a ledger's index has an answer to."""
        return int((index.states(self.ids) == State.ANSWERED).sum())

    def known_to(self, index: Index, least: State = State.FAILED) -> bool:
        """Whether a ledger's index knows what became of every one of them, or has at least a state of each."""
        return bool((index.states(self.ids) >= least).all())


def work_of(run: Run, plan: Plan, index: Index, least: State = State.SETTLED) -> Work:
    """The questions of which the ledger has less than a state, each once however often the plan holds it."""
    held = [run.storage.read_table(path, ["chunk_id"])["chunk_id"].to_pylist() for path in plan.chunk_files]
    ids = np.concatenate([np.empty((0, 2), np.uint64), *map(digests, held)])
    ends = np.cumsum([0, *map(len, held)])
    once = first_of_each(ids)
    missing = once[index.states(ids[once]) < least]
    files = np.searchsorted(ends, missing, "right") - 1
    rows = {plan.chunk_files[n]: missing[files == n] - ends[n] for n in np.unique(files).tolist()}
    return Work(rows, ids[once], len(missing))


def extract(run: Run, work: Work, extractor: type[Extractor] = Extractor) -> Generator[pa.Table]:
    """Ask for everything; yields what became of it while it goes on (what `extractor` gives)."""
    fleet, size = run.fleet, size_for(run, work.missing)
    cluster.bear_failed_starts(size.wanted)
    items = [{"path": path, "rows": numbers} for path, numbers in work.rows.items()]
    answered = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(read_rows, batch_size=1, batch_format="pyarrow", fn_kwargs={"run": run})
        .repartition(target_num_rows_per_block=size.rows)
        .map_batches(
            extractor,
            batch_size=size.rows,
            batch_format="pyarrow",
            # A GPU node may offer no cores, which keeps plan and reduce off it.
            num_cpus=0 if fleet.gpus else 1,
            num_gpus=fleet.gpus or None,
            label_selector=run.settings.servers.labels or None,
            compute=ActorPoolStrategy(
                min_size=size.wanted,
                max_size=size.most,
                initial_size=size.wanted,
                max_concurrent_calls_per_actor=size.calls,
                max_tasks_in_flight_per_actor=size.tasks,
            ),
            fn_constructor_kwargs={
                "settings": run.settings,
                "schema": run.schema,
                "make_server": partial(_server, run),
                "make_journal": partial(_journal, run),
                "tell": partial(write_server, run.storage, run.run_id),
                "make_notes": partial(_notes, run),
            },
        )
    )
    yield from answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def read_rows(batch: pa.Table, run: Run) -> Iterator[pa.Table]:
    """Ray Data: row numbers of chunk files to questions."""
    for item in batch.to_pylist():
        table = run.storage.read_table(item["path"], list(Question.__slots__))
        yield table.take(pa.array(item["rows"], pa.int64()))


def size_for(run: Run, missing: int) -> PoolSize:
    """The pool that so many missing chunks deserve, on the cluster as it is now; without GPUs one server, or as
    many as the settings allow."""
    servers, fleet = run.settings.servers, run.fleet
    if fleet.gpus:
        return pool_size(missing, fleet.limit, servers, cluster.places(fleet.gpus), grows=cluster.grows())
    most = servers.max_servers or servers.min_servers
    return pool_size(missing, fleet.limit, servers.model_copy(update={"max_servers": most}), most, grows=False)


def _server(run: Run) -> Server:
    return run.fleet.make_server(run.logs)


def _notes(run: Run) -> Notes:
    context: Any = ray.get_runtime_context()
    with warnings.catch_warnings():  # Ray asks in a way that it deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        actor, restarted = context.get_actor_id(), bool(context.was_current_actor_reconstructed)
    return StoredNotes(run.storage, f"work/runs/{run.run_id}/doubts/{actor}.json", restarted)


def _journal(run: Run) -> Journal:
    context: Any = ray.get_runtime_context()
    return LedgerWriter(run.ledger, run.run_id, context.get_actor_id() or "driver")
