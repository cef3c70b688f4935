"""The extract stage: chunks that the ledger does not hold go to a pool of extractors.

`pool_size` says how many servers a run asks for and in what batches they get chunks. The breaker ends a run in
which too much fails, before it has burnt a cluster's time.
"""

import contextlib
import json
import math
import warnings
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NoReturn

import numpy as np
import pyarrow as pa
import ray
import ray.data
import ray.exceptions
from ray.data import ActorPoolStrategy
from ray.data._internal.execution.execution_callback import ExecutionCallback  # the base that DataContext asks for

from actors.crash_suspects import SuspectStore
from actors.extractor import SERVER_GONE, Extractor, ResultStore
from actors.retrying_client import Request
from actors.servers.supervisor import Server, ServerReady
from extraction.config.settings import BreakerSettings as Asked
from extraction.config.settings import Servers, Settings
from extraction.errors import Fault, RunError
from jobs.stages import ray_cluster
from jobs.stages.plan import Plan, chunk_ids_of
from jobs.stages.run import Run
from jobs.stages.run_stats import RunStats
from jobs.state.ledger import ChunkState, Digests, Index, LedgerWriter, RowNumbers, first_of_each
from jobs.state.run_record import folder_of, read_server, server_spans, write_end, write_server
from jobs.state.storage import Storage

WAVES = 2  # a server is worth its start if it gets so many times what it works on at once: minutes of work
ASKED_AHEAD = 32  # servers beyond the GPUs that are there; a cluster of any size doubles from here
MOST_ROWS = 32  # of a task: few enough to be done together, many enough for Ray to keep up
TASKS_OF_A_RUN = 250  # from which on tasks have more rows: Ray hands over some tens a second
TASKS_TO_FILL = 16  # all servers together
# Rows handed to an actor for each request that its server works on, so that it never runs dry, and more for each
# doubling of a task's rows: it is done with the slowest of them. What is handed over can't be taken back, so a slow
# GPU is to hoard little.
OVERBOOKING, MORE_A_DOUBLING = 1.5, 0.35
TASKS_PER_WAITING = 4  # for so many tasks that an actor works on, one waits there


@dataclass(frozen=True)
class PoolSize:
    """Servers: `wanted` from the start, whether their nodes are there or not, and at `most`. Chunks: `rows` a
    task, `calls` tasks that an actor works on, `tasks` that it holds.
    """

    wanted: int
    most: int
    rows: int
    calls: int
    tasks: int


def pool_size(missing: int, limit: int, servers: Servers, present: int, *, grows: bool) -> PoolSize:
    """The pool for so many missing chunks, on servers of which none takes more than `limit` requests.

    `present` is how many servers the cluster has GPUs for now; where it `grows`, more are asked for, because
    a server that waits for its node is what makes an autoscaler start one.
    """
    most = _deserved(missing, limit, servers)
    wanted = min(most, max(servers.min_servers, present + (ASKED_AHEAD if grows else 0)))
    share = -(-missing // wanted)  # the first actor that is ready leaves theirs to the others
    rows = min(MOST_ROWS, max(1, missing // TASKS_OF_A_RUN, wanted * min(limit, share) // TASKS_TO_FILL))
    overbooking = OVERBOOKING + MORE_A_DOUBLING * math.log2(rows)
    calls = max(2, math.ceil(min(overbooking * limit, share) / rows))
    tasks = max(2, min(calls + -(-calls // TASKS_PER_WAITING), -(-share // rows)))
    return PoolSize(wanted, most, rows, calls, tasks)


def _deserved(missing: int, limit: int, servers: Servers) -> int:
    """As many as the work keeps busy for a while, within what is allowed, and never one without a chunk."""
    deserved = max(servers.min_servers, -(-missing // (WAVES * limit)))
    return max(1, min(deserved, servers.max_servers or deserved, missing))


FAULT_REMEDIES = {
    Fault.UNAVAILABLE: "see whether the servers or the endpoint are up, and what their logs say",
    Fault.DEADLINE: "the servers are too slow for requests.deadline_s, or hang: see their logs",
    Fault.ABORTED: "the servers break their answers off: see their logs",
    Fault.POISON: "the servers die of it: see their logs, and try another row of the scenario matrix",
    Fault.REJECTED: "the server refuses these documents, and answers a test request: its words say why",
    Fault.TOO_LONG: "the server's context is smaller than limits.context_length: lower the limits",
}
OF_THE_ANSWERS = "the prompt, the schema and the model do not fit together: try --limit 20"


class CircuitBreaker:
    """Counts what becomes of chunks: the last `breaker.chunks` of them, and whether the first ones failed alike.

    `gone` is the number of chunks that failed with a server that did not answer a test request either.
    """

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self.gone = 0
        self._last: deque[str | None] = deque()
        self._failed: Counter[str] = Counter()
        self._said: dict[str, str] = {}  # by fault, the last message
        self._done = 0
        self._faults: set[str | None] = set()

    def add(self, answers: pa.Table) -> None:
        """Take answers in. Raises RunError when too much has failed."""
        self.gone += count_gone(answers)
        if self.asked.failed_fraction == 1:
            return
        for fault, message in zip(answers["fault"].to_pylist(), answers["message"].to_pylist(), strict=True):
            self._said |= {fault: message} if fault else {}
            self._count(fault)
            self._judge()

    def _count(self, fault: str | None) -> None:
        self._done += 1
        self._faults.add(fault)
        self._last.append(fault)
        if fault:
            self._failed[fault] += 1
        if len(self._last) > self.asked.chunks and (old := self._last.popleft()):
            self._failed[old] -= 1

    def _judge(self) -> None:
        failed = self._failed.total()
        if self._done == self.asked.alike and len(self._faults) == 1 and failed:
            self._break(f"all of the first {self._done:,} chunks failed alike")
        if self._done >= self.asked.chunks and failed > self.asked.failed_fraction * self.asked.chunks:
            self._break(f"{failed:,} of the last {self.asked.chunks:,} chunks failed")

    def _break(self, what: str) -> NoReturn:
        ((fault, times),) = self._failed.most_common(1)
        remedy = FAULT_REMEDIES.get(Fault(fault), OF_THE_ANSWERS)
        raise RunError(
            f"{what}, {times:,} of them with {fault}: {self._said[fault]}. The run stops, nothing is published, "
            f"the ledger is kept. {remedy[0].upper()}{remedy[1:]}; --set breaker.failed_fraction=1 goes on"
        )


def count_gone(answers: pa.Table) -> int:
    """Number of chunks that failed with a server that did not answer a test request either."""
    return sum((message or "").endswith(SERVER_GONE) for message in answers["message"].to_pylist())


def require_server(gone: int, chunks: int, settings: Settings) -> None:
    """Raise RunError where too many of a run's chunks failed because their server was gone: what would be published
    may lack what is published now."""
    if settings.breaker.failed_fraction < 1 and gone > settings.max_dead_fraction * chunks:
        raise RunError(
            f"{gone:,} of {chunks:,} chunks failed because their server was gone: it did not answer a test request "
            "either. Nothing is published, the ledger is kept: the same command asks again. --set "
            "breaker.failed_fraction=1 publishes regardless"
        )


@dataclass(frozen=True)
class Work:
    """Chunks to ask for: row numbers by chunk file. `ids` has each question of the plan once."""

    rows: dict[str, RowNumbers]
    ids: Digests
    missing: int

    @property
    def chunks(self) -> int:
        """Number of questions in the plan."""
        return len(self.ids)

    def answered_of(self, index: Index) -> int:
        """How many of them a ledger's index has an answer to."""
        return int((index.states(self.ids) == ChunkState.ANSWERED).sum())

    def known_to(self, index: Index, least: ChunkState = ChunkState.FAILED) -> bool:
        """Whether a ledger's index knows what became of every one of them, or has at least a state of each."""
        return bool((index.states(self.ids) >= least).all())


Watch = Callable[[RunStats, pa.Table], None]  # what came of all requests so far, and the answers that are new


class StepCheck(ExecutionCallback):  # type: ignore[misc]
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


def work_of(run: Run, plan: Plan, index: Index, least: ChunkState = ChunkState.SETTLED) -> Work:
    """The questions of which the ledger has less than a state, each once however often the plan holds it."""
    held = list(chunk_ids_of(run.storage, plan.chunk_files))
    ids = np.concatenate([np.empty((0, 2), np.uint64), *held])
    ends = np.cumsum([0, *map(len, held)])
    once = first_of_each(ids)
    missing = once[index.states(ids[once]) < least]
    files = np.searchsorted(ends, missing, "right") - 1
    rows = {plan.chunk_files[n]: missing[files == n] - ends[n] for n in np.unique(files).tolist()}
    return Work(rows, ids[once], len(missing))


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
                _tell_starts(run, stats, stats.servers.keys() - before)
                for watch in watches:
                    watch(stats, answers)
                breaker.add(answers)
    finally:
        with contextlib.suppress(OSError):  # the storage is away: what is known of servers has to do
            stats.settle(server_spans(run.storage, run.run_id))
    require_server(breaker.gone, work.chunks, run.settings)
    return stats


def _tell_starts(run: Run, stats: RunStats, servers: Iterable[str]) -> None:
    """Tell statistics when servers that are new in them were started: they cost from then on."""
    for server in servers:
        with contextlib.suppress(OSError):
            record = read_server(run.storage, run.run_id, server)
            if record and record.started_at:
                stats.started(server, record.started_at)


def results(
    run: Run, work: Work, extractor: type[Extractor] = Extractor, check: Callable[[], None] | None = None
) -> Generator[pa.Table]:
    """Ask for everything; yields what became of it while it goes on (what `extractor` gives)."""
    fleet, size = run.fleet, size_for(run, work.missing)
    ray_cluster.bear_failed_starts(size.wanted)
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
                "make_result_store": partial(_result_store, run),
                "on_ready": partial(_report_ready, run),
                "on_end": partial(write_end, run.storage, run.run_id),
                "make_suspect_store": partial(_suspect_store, run),
            },
        )
    )
    StepCheck.check = staticmethod(check) if check else None
    answered.context.custom_execution_callback_classes = [StepCheck]  # this pipeline's, of all that run
    yield from answered.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0)


def read_rows(batch: pa.Table, run: Run) -> Iterator[pa.Table]:
    """Ray Data: row numbers of chunk files to questions, the longest first: what is under way at the end, when
    servers run empty, is short then."""
    for item in batch.to_pylist():
        table = run.storage.read_table(item["path"], list(Request.__slots__))
        yield table.take(pa.array(item["rows"], pa.int64())).sort_by([("prompt_tokens", "descending")])


def size_for(run: Run, missing: int) -> PoolSize:
    """The pool that so many missing chunks deserve, on the cluster as it is now; without GPUs one server, or as
    many as the settings allow."""
    servers, fleet = run.settings.servers, run.fleet
    if fleet.gpus:
        present = ray_cluster.places(fleet.gpus)
        size = pool_size(missing, fleet.limit, servers, present, grows=ray_cluster.grows())
        if size.wanted <= present:
            return size
        possible = max(present, ray_cluster.possible(size.wanted, fleet.gpus, servers.labels))
        if possible < size.wanted:
            fewer = servers.model_copy(update={"max_servers": max(1, servers.min_servers, possible)})
            size = pool_size(missing, fleet.limit, fewer, possible, grows=False)
        return size
    most = servers.max_servers or servers.min_servers
    return pool_size(missing, fleet.limit, servers.model_copy(update={"max_servers": most}), most, grows=False)


def _server(run: Run) -> Server:
    return run.fleet.make_server(run.logs)


def _report_ready(run: Run, ready: ServerReady) -> None:
    context: Any = ray.get_runtime_context()
    write_server(run.storage, run.run_id, ready, context.get_actor_id() or "")


def _suspect_store(run: Run) -> SuspectStore:
    context: Any = ray.get_runtime_context()
    with warnings.catch_warnings():  # Ray asks in a way that it deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        actor, restarted = context.get_actor_id(), bool(context.was_current_actor_reconstructed)
    return SuspectFile(run.storage, f"{folder_of(run.run_id)}/suspects/{actor}.json", restarted)


def _result_store(run: Run) -> ResultStore:
    context: Any = ray.get_runtime_context()
    return LedgerWriter(run.ledger, run.run_id, context.get_actor_id() or "driver")


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
