"""Runs one server in one Ray actor, and keeps it full of requests across all batches that Ray Data sends.

Results are written to the ledger, in groups, before Ray sees them.
"""

import asyncio
import math
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any, Protocol

import pyarrow as pa

from actors import canary
from actors.crash_suspects import CrashSuspects, SuspectStore
from actors.http import Dialect
from actors.metrics import MetricsReporter
from actors.preemption import PreemptionWatcher, in_actor
from actors.results import RESULT_TEXTS, RESULTS, SERVER_GONE, Request, Result, ResultStore
from actors.retrying_client import Client
from actors.servers.supervisor import Server, ServerRecords, ServerSupervisor, log_line
from extraction.config.settings import Settings
from extraction.errors import Fault, RunError


class ActorRecords(ServerRecords, Protocol):
    """What is kept of an actor, where it outlives it: its results, its suspects, and its server's times."""

    @property
    def results(self) -> ResultStore: ...

    @property
    def suspects(self) -> SuspectStore | None: ...


class BatchedWriter:
    """Writes results together: once there are `rows` of them, or the first has waited for `age_s` seconds."""

    def __init__(self, store: ResultStore, *, rows: int, age_s: float) -> None:
        self._store, self._rows, self._age_s = store, rows, age_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="result-writer")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Result] = []
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._writes: set[asyncio.Task[None]] = set()

    async def flush(self) -> None:
        """Return once all results added so far are written, or their write has failed."""
        self._flush()
        await asyncio.gather(*self._writes)

    @property
    def waiting(self) -> int:
        """The number of results that wait to be written."""
        return len(self._waiting)

    async def add(self, result: Result, *, at_once: bool = False) -> None:
        """Return once the result is written, `at_once` with all that wait. Raises what the store raises."""
        self._waiting.append(result)
        written = self._written
        if at_once or len(self._waiting) >= self._rows:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._age_s, self._flush)
        await asyncio.shield(written)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        results, self._waiting = self._waiting, []
        written, self._written = self._written, self._loop.create_future()
        task = self._loop.create_task(self._write(results, written))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, results: list[Result], written: asyncio.Future[None]) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._store.append, results)
        except Exception as error:
            written.set_exception(error)
            written.exception()  # retrieved, also when all callers were cancelled
        else:
            written.set_result(None)


BLAMED = (Fault.REJECTED, Fault.UNAVAILABLE, Fault.DEADLINE)  # of a request, or of a server that fails at all
OF_THE_SERVER = (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.ABORTED, Fault.POISON)  # it has not answered


class Extractor:
    """A Ray Data callable: takes a batch of chunks, returns one result row a chunk, in order.

    A result is returned only once the store has it. A document's fault is a row; an operator's mistake is raised.
    """

    def __init__(
        self,
        settings: Settings,
        schema: dict[str, Any],
        make_server: Callable[[], Server],
        make_records: Callable[[], ActorRecords],
    ) -> None:
        self.settings, self.schema = settings, schema
        records = make_records()
        self.store = records.results
        self.completed = self.store.completed()
        self.supervisor = ServerSupervisor(make_server(), settings.servers, records)
        name = self.supervisor.server.name
        self._loop: asyncio.AbstractEventLoop | None = None
        self._metrics = MetricsReporter(name)
        if in_actor():
            this = weakref.proxy(self)  # a thread with a reference to the actor would keep it from being deleted
            PreemptionWatcher(lambda grace_s: this._shut_down(grace_s), grace_s=settings.servers.drain_s).start()
            # The loop of the calls makes the client, not this thread.
            self._metrics.start(lambda: vars(this).get("_client"))
        self._asking, self._gone_at = asyncio.Lock(), -math.inf
        try:
            self.address = self.supervisor.start()
            self.dialect = asyncio.run(self._canary())
        except BaseException:
            self.supervisor.stop()
            raise
        seconds = self.supervisor.ready(self.address)
        # Here, because what is under way is written down for some time after an actor's restart.
        self.suspects = CrashSuspects(records.suspects, settings.servers.deaths_within_s)
        log_line(f"{name}: ready in {seconds:.1f} s, {self.address.limit} requests at a time")

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Send every chunk of a batch at once; the server's limit decides how many are in flight."""
        self._loop = asyncio.get_running_loop()
        requests = [Request(**row) for row in batch.select(Request.__slots__).to_pylist()]
        results = await asyncio.gather(*map(self._extract, requests))
        return pa.Table.from_pylist([asdict(result) for result in results], RESULTS).drop_columns(
            list(RESULT_TEXTS)
        )

    async def _extract(self, request: Request) -> Result:
        if request.chunk_id in self.completed:
            return self.completed[request.chunk_id]
        result = await self._client.extract(request)
        if result.fault in BLAMED:
            result = await self._blamed(result)
        self._metrics.add(result)
        await self._writer.add(result, at_once=self._starving)
        return result

    async def _blamed(self, result: Result) -> Result:
        """Find out who is to blame for a failed request: a server that refuses the test request too refuses all,
        which raises OperatorError; of one that does not answer it either the message tells."""
        client, failed_at = self._client, time.monotonic()
        async with self._asking:
            if client.passed_at > failed_at - result.latency_s / max(1, result.attempts):
                return result
            if self._gone_at < failed_at:
                # It is never cancelled: it may be the request that restarts the server.
                asked = asyncio.ensure_future(canary.canary_result(client))
                await asyncio.wait([asked], timeout=self.settings.requests.deadline_s)
                answered = asked.done() and asked.result().fault not in OF_THE_SERVER
                self._gone_at = self._gone_at if answered else time.monotonic()
        if self._gone_at < failed_at:
            return result
        fault = Fault.UNAVAILABLE if result.fault is Fault.REJECTED else result.fault  # the next run asks again
        return replace(result, fault=fault, message=result.message + SERVER_GONE)

    @property
    def _starving(self) -> bool:
        """Whether the server is idle, or will be soon, because Ray waits for results that wait to be written."""
        client = self._client
        return not client.waiting and (not client.in_flight or self._writer.waiting >= client.address.limit)

    # These two belong to the event loop of the calls, which does not run yet in __init__.

    @cached_property
    def _client(self) -> Client:
        self.supervisor.on_shutdown = self._writer.flush
        return Client(
            self.address, self.settings, self.schema, self.supervisor, self.suspects, dialect=self.dialect
        )

    @cached_property
    def _writer(self) -> BatchedWriter:
        return BatchedWriter(self.store, rows=self.settings.ledger.flush_rows, age_s=self.settings.ledger.flush_s)

    def _shut_down(self, grace_s: float) -> None:
        """End the process within `grace_s` seconds; before the first batch at once."""
        if self._loop:
            asyncio.run_coroutine_threadsafe(self._drain(grace_s), self._loop)
        else:
            asyncio.run(self.supervisor.exit_process("preempted"))

    async def _drain(self, grace_s: float) -> None:
        """Write results at once, let requests in flight finish, and send no more: Ray places the actor anew."""
        log_line(f"{self.supervisor.server.name}: preempted, its requests have {grace_s:.0f} s to finish")
        await self._writer.flush()
        unfinished = await self._client.drain(grace_s)
        await self.suspects.clear()
        await self.supervisor.exit_process(f"drained, {unfinished} requests unfinished")

    async def _canary(self) -> Dialect:
        """Send one request with the real schema, which must return a profile before any document is sent. Returns
        how the server wants to be asked."""
        name = self.supervisor.server.name
        client, result = await canary.canary_client(name, self.address, self.settings, self.schema)
        await client.close()
        if result.fault:
            raise RunError(
                f"{name} at {self.address.url} does not answer a test request: {result.message}. "
                f"No document was sent to it: {canary.SERVER_REMEDIES.get(result.fault, 'its log may say why')}"
            )
        return client.dialect

    def __del__(self) -> None:
        if hasattr(self, "supervisor"):
            self.supervisor.stop()
