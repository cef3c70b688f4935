"""The extract stage: chunks that the ledger does not hold go to a pool of extractors."""

import contextlib
import json
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import ray
import ray.data
import ray.exceptions
from ray.data import ActorPoolStrategy
from ray.data._internal.execution.execution_callback import ExecutionCallback  # the base that DataContext asks for

from actors.extractor import Extractor
from actors.results import Request
from actors.servers.supervisor import ServerReady
from jobs.stages import ray_cluster
from jobs.stages.circuit_breaker import CircuitBreaker
from jobs.stages.plan import Plan, chunk_ids_of
from jobs.stages.run import Run
from jobs.stages.run_stats import RunStats
from jobs.stages.server_pool_size import PoolSize, round_robin_order, size_for
from jobs.state.ledger import ChunkState, Digests, Index, LedgerWriter, RowNumbers, first_of_each
from jobs.state.run_record import folder_of, read_server, server_spans, write_end, write_server
from jobs.state.storage import Storage, suppress_outage


@dataclass(frozen=True)
class Work:
    """Chunks to ask for: row numbers by chunk file. `ids` has each question of the plan once, `planned` is the
    number of the plan's rows, in which a question may stand again."""

    rows: dict[str, RowNumbers]
    ids: Digests
    missing: int
    planned: int = 0

    @property
    def chunks(self) -> int:
        """Number of questions in the plan."""
        return len(self.ids)

    def answered_of(self, index: Index) -> int:
        """How many of them a ledger's index has an answer to."""
        return int((index.states(self.ids) == ChunkState.ANSWERED).sum())

    def known_to(self, index: Index) -> bool:
        """Whether a ledger's index has a result, of whatever kind, of every one of them."""
        return bool((index.states(self.ids) >= ChunkState.RETRYABLE).all())


Watch = Callable[[RunStats, pa.Table], None]  # what came of all requests so far, and the answers that are new


class PipelineCallback(ExecutionCallback):  # type: ignore[misc]
    """Ray Data calls it at each of its steps. What a check raises ends the pipeline between results, in the thread
    that waits for them; a signal's handler would raise anywhere.

    It also lets idle nodes go while the last chunks are worked on, which Ray Data has no public way for. Servers
    that still wait for a node, or start, when the last chunk is handed out, are ended: Ray Data lets go of them,
    and each would get the GPU of the next one that is idle. And Ray Data asks for no GPUs on its own account, which
    it would go on doing: the servers that a run wants ask for theirs.
    """

    check: ClassVar[Callable[[], None] | None]

    def __init__(self) -> None:
        self._starting: set[Any] = set()

    def before_execution_starts(self, executor: Any) -> None:
        """All is built."""
        scaling = executor._cluster_autoscaler
        scaling._non_shuffle_ops = [op for op in scaling._non_shuffle_ops if not op.get_autoscaling_actor_pools()]

    def on_execution_step(self, executor: Any) -> None:
        """One more step."""
        if check := type(self).check:
            check()
        for operator, state in executor._topology.items():
            for pool in operator.get_autoscaling_actor_pools():
                if operator._inputs_complete and not state.total_enqueued_input_blocks():
                    pool._release_pending_actors(force=True)
                    for actor in self._starting.difference(pool._running_actors):  # it let go of them in this step
                        ray.kill(actor)
                self._starting = set(pool._pending_actors.values())


def work_of(run: Run, plan: Plan, index: Index, required: ChunkState) -> Work:
    """The questions of which the ledger has less than a state, each once however often the plan holds it."""
    held = chunk_ids_of(run.storage, plan.chunk_files)
    ids = np.concatenate([np.empty((0, 2), np.uint64), *held])
    ends = np.cumsum([0, *map(len, held)])
    once = first_of_each(ids)
    missing = once[index.states(ids[once]) < required]
    files = np.searchsorted(ends, missing, "right") - 1
    rows = {plan.chunk_files[n]: missing[files == n] - ends[n] for n in np.unique(files).tolist()}
    return Work(rows, ids[once], len(missing), len(ids))


def extract(
    run: Run,
    work: Work,
    watches: Sequence[Watch] = (),
    check: Callable[[], None] | None = None,
    stats: RunStats | None = None,
) -> RunStats:
    """Ask for what is missing; nothing is started when nothing is. `stats` are filled meanwhile.

    Each watch sees the answers as they come in, and ends the stage by raising: what is under way is dropped then,
    what was answered is in the ledger. So does a check, which is called all the time, also while no answer comes.
    """
    breaker, stats = CircuitBreaker(run.settings.breaker), stats or RunStats()
    if not work.missing:
        return stats
    try:
        with contextlib.closing(results(run, work, check=check)) as answered:
            for answers in answered:
                before = set(stats.servers)
                stats.add(answers)
                _add_starts(run, stats, stats.servers.keys() - before)
                for watch in watches:
                    watch(stats, answers)
                breaker.add(answers)
    finally:
        with suppress_outage():  # the storage is away: what is known of servers has to do
            stats.settle(server_spans(run.storage, run.run_id))
    breaker.gone.check(work.chunks, run.settings)
    return stats


def _add_starts(run: Run, stats: RunStats, servers: Iterable[str]) -> None:
    """Tell statistics when servers that are new in them were started: they cost from then on."""
    for server in servers:
        with suppress_outage():
            record = read_server(run.storage, run.run_id, server)
            if record and record.started_at:
                stats.started(server, record.started_at)


def results(
    run: Run, work: Work, extractor: type[Extractor] = Extractor, check: Callable[[], None] | None = None
) -> Generator[pa.Table]:
    """Ask for everything; yields what became of it while it goes on (what `extractor` gives)."""
    fleet, size = run.fleet, size_for(run, work.missing)
    ray_cluster.allow_failed_starts(size.initial)
    items = [{"path": path, "rows": numbers} for path, numbers in work.rows.items()]
    answered = (
        ray.data.from_items(items, override_num_blocks=len(items))
        .map_batches(read_rows, batch_size=1, batch_format="pyarrow", fn_kwargs={"run": run, "size": size})
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
                min_size=size.initial,
                max_size=size.maximum,
                initial_size=size.initial,
                max_concurrent_calls_per_actor=size.calls,
                max_tasks_in_flight_per_actor=size.tasks,
            ),
            fn_constructor_kwargs={
                "settings": run.settings,
                "schema": run.schema,
                "make_server": partial(run.fleet.make_server, run.logs),
                "make_records": partial(ActorFiles, run),
            },
        )
    )
    PipelineCallback.check = staticmethod(check) if check else None
    answered.context.custom_execution_callback_classes = [PipelineCallback]  # this pipeline's, of all that run
    yield from answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def read_rows(batch: pa.Table, run: Run, size: PoolSize) -> Iterator[pa.Table]:
    """Ray Data: row numbers of chunk files to questions, the longest first: what is under way at the end, when
    servers run empty, is short then."""
    for item in batch.to_pylist():
        table = run.storage.read_table(item["path"], list(Request.__slots__))
        longest_first = table.take(pa.array(item["rows"], pa.int64())).sort_by([("prompt_tokens", "descending")])
        yield longest_first.take(
            pa.array(round_robin_order(longest_first.num_rows, size.initial * size.running, size.rows))
        )


class ActorFiles:
    """What a run keeps of an actor: its results in the ledger, the rest in the run's folder. Made where it is."""

    def __init__(self, run: Run) -> None:
        context: Any = ray.get_runtime_context()
        with warnings.catch_warnings():  # Ray asks in a way that it deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            self.actor, restarted = context.get_actor_id(), bool(context.was_current_actor_reconstructed)
        self.run = run
        self.results = LedgerWriter(run.ledger, run.run_id, self.actor or "driver")
        self.suspects = SuspectFile(run.storage, f"{folder_of(run.run_id)}/suspects/{self.actor}.json", restarted)

    def server_ready(self, ready: ServerReady) -> None:
        """Write down a start."""
        write_server(self.run.storage, self.run.run_id, ready, self.actor or "")

    def server_ended(self, server: str, started_at: float, ended_at: float) -> None:
        """Write down when an actor's server was started and ended."""
        write_end(self.run.storage, self.run.run_id, server, started_at, ended_at)


@dataclass(frozen=True)
class SuspectFile:
    """Crash records by chunk id, in a JSON file that is replaced as a whole."""

    storage: Storage
    path: str
    restarted: bool

    def read(self) -> dict[str, Any] | None:
        """The records from before the actor's restart; None at its first start."""
        if not self.restarted:
            return None
        try:
            records = json.loads(self.storage.read(self.path) or b"{}")
        except ValueError:
            return {}
        return records if isinstance(records, dict) else {}

    def write(self, records: dict[str, Any]) -> None:
        """Replace all records."""
        self.storage.write(self.path, json.dumps(records).encode())
