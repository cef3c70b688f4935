"""The extract stage: the chunks that the ledger does not hold go to a pool of extractors."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data
from ray.data import ActorPoolStrategy

from actors.client import Question
from actors.extractor import Extractor
from actors.journal import Journal
from actors.server import Server
from jobs import cluster
from jobs.ledger import Index, LedgerWriter
from jobs.plan import Plan
from jobs.pool_size import PoolSize, pool_size
from jobs.run import Run


@dataclass(frozen=True)
class Work:
    """Chunks to ask for: row numbers by chunk file. `ids` has each question of the plan once."""

    rows: dict[str, list[int]]
    ids: pa.Array
    missing: int

    @property
    def chunks(self) -> int:
        """Number of questions in the plan."""
        return len(self.ids)

    def answered_of(self, index: Index) -> int:
        """How many of them a ledger's index has an answer to."""
        return _count_in(self.ids, index.answered)

    def known_to(self, index: Index) -> bool:
        """Whether a ledger's index knows what became of every one of them."""
        return _count_in(self.ids, index.known) == self.chunks


def _count_in(ids: pa.Array, those: pa.Array) -> int:
    return int(pc.sum(pc.is_in(ids, value_set=those)).as_py() or 0)


def work_of(run: Run, plan: Plan, settled: pa.Array) -> Work:
    """What the ledger does not settle, each question once however often the plan holds it."""
    files, numbers, ids = [], [], []
    for position, path in enumerate(plan.chunk_files):
        column = run.storage.read_table(path, ["chunk_id"])["chunk_id"].combine_chunks()
        ids.append(column)
        files.append(pa.array([position] * len(column), pa.int32()))
        numbers.append(pa.array(range(len(column)), pa.int64()))
    if not ids:
        return Work({}, pa.array([], pa.string()), 0)
    places = pa.table(
        {"id": pa.concat_arrays(ids), "file": pa.concat_arrays(files), "row": pa.concat_arrays(numbers)}
    )
    order = pa.array(range(places.num_rows), pa.int64())
    first = places.append_column("order", order).group_by("id", use_threads=False).aggregate([("order", "min")])
    places = places.take(first["order_min"])
    missing = places.filter(pc.invert(pc.is_in(places["id"], value_set=settled)))
    rows: dict[str, list[int]] = {}
    for position, row in zip(missing["file"].to_pylist(), missing["row"].to_pylist(), strict=True):
        rows.setdefault(plan.chunk_files[position], []).append(row)
    return Work(rows, places["id"].combine_chunks(), missing.num_rows)


def extract(run: Run, work: Work, extractor: type[Extractor] = Extractor) -> Iterator[pa.Table]:
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


def _journal(run: Run) -> Journal:
    context: Any = ray.get_runtime_context()
    return LedgerWriter(run.ledger, run.run_id, context.get_actor_id() or "driver")
