"""The extractor: one actor, one server, kept full of requests across all batches that Ray Data hands it.

Results are written to the ledger, in groups, before Ray sees them.
"""

import asyncio
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import cached_property, partial
from typing import Any, Protocol

import pyarrow as pa

from actors.crash_suspects import Doubts, Notes
from actors.metrics import Meter, MetricsState
from actors.preemption import Notice, in_actor
from actors.retrying_client import HERE, Client, Request, Result
from actors.servers.supervisor import Keeper, Ready, Server, ServerAddress, say
from extraction.config.settings import Settings
from extraction.errors import Fault, RunError


class Journal(Protocol):
    """A place that keeps answers."""

    def held(self) -> dict[str, Result]:
        """Answers by chunk id that this actor wrote before it was restarted."""
        ...

    def append(self, answers: list[Result]) -> None:
        """Make answers durable; blocks."""
        ...


class GroupCommit:
    """Writes answers together: when there are `rows` of them, or the first has waited `age_s`."""

    def __init__(self, journal: Journal, *, rows: int, age_s: float) -> None:
        self._journal, self._rows, self._age_s = journal, rows, age_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Result] = []
        self._written: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._writes: set[asyncio.Task[None]] = set()

    async def flush(self) -> None:
        """Return once all that was added so far is written, or has failed to be."""
        self._flush()
        await asyncio.gather(*self._writes)

    @property
    def waiting(self) -> int:
        """How many answers wait to be written."""
        return len(self._waiting)

    async def add(self, answer: Result, *, at_once: bool = False) -> None:
        """Return once the answer is written, `at_once` with all that wait. Raises what the journal raises."""
        self._waiting.append(answer)
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
        answers, self._waiting = self._waiting, []
        written, self._written = self._written, self._loop.create_future()
        task = self._loop.create_task(self._write(answers, written))
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)

    async def _write(self, answers: list[Result], written: asyncio.Future[None]) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._journal.append, answers)
        except Exception as error:
            written.set_exception(error)
            written.exception()  # seen, also when all who waited were cancelled
        else:
            written.set_result(None)


CANARY = "Alder & Finch Ltd makes oak furniture in Galway, Ireland. It was founded in 1998."
CANARY_TOKENS = 1024

RESULTS = pa.schema(
    [
        ("chunk_id", pa.string()),
        ("replies", pa.list_(pa.string())),
        ("scores", pa.list_(pa.list_(pa.float32()))),
        ("fault", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("latency_s", pa.float64()),
        ("in_flight", pa.int32()),
        ("truncated", pa.int32()),
        ("looped", pa.int32()),
        ("ended_at", pa.float64()),
        ("server", pa.string()),
    ]
)
RESULT_TEXTS = ("replies", "scores")  # what stays in the ledger


class Extractor:
    """A Ray Data callable: a batch of chunks in, what became of each out, in order.

    An answer leaves only when the journal has it. No document's fault raises; the operator's mistakes do.
    """

    def __init__(
        self,
        settings: Settings,
        schema: dict[str, Any],
        make_server: Callable[[], Server],
        make_journal: Callable[[], Journal],
        tell: Callable[[Ready], None] | None = None,
        make_notes: Callable[[], Notes] | None = None,
    ) -> None:
        self.settings, self.schema = settings, schema
        self.journal = make_journal()
        self.doubts = Doubts(make_notes() if make_notes else None, settings.servers.deaths_within_s)
        self.held = self.journal.held()
        self.keeper = Keeper(make_server(), settings.servers)
        if tell:
            self.keeper.ready = partial(_tell, tell, self.keeper.server.name)
        self._loop: asyncio.AbstractEventLoop | None = None
        here = weakref.proxy(self)  # threads that watch must not keep it from its end
        self._meter = Meter(self.keeper.server.name, lambda: here._state())
        if in_actor():
            Notice(lambda within_s: here._leave(within_s), grace_s=settings.servers.drain_s).watch()
            self._meter.start()
        self.logprobs = settings.confidence.logprobs
        began = time.monotonic()
        self.address = self.keeper.start()
        try:
            asyncio.run(self._canary())
        except BaseException:
            self.keeper.stop()
            raise
        took, name = time.monotonic() - began, self.keeper.server.name
        say(f"{name}: ready in {took:.1f} s, {self.address.limit} requests at a time")

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Ask for every chunk of a batch at once; the server's limit decides how many are under way."""
        self._loop = asyncio.get_running_loop()
        questions = [Request(**row) for row in batch.select(Request.__slots__).to_pylist()]
        answers = await asyncio.gather(*map(self._answer, questions))
        return pa.Table.from_pylist([asdict(answer) for answer in answers], RESULTS).drop_columns(
            list(RESULT_TEXTS)
        )

    async def _answer(self, question: Request) -> Result:
        if question.chunk_id in self.held:
            return self.held[question.chunk_id]
        answer = await self._client.ask(question)
        self._meter.add(answer)
        await self._commit.add(answer, at_once=self._runs_dry)
        return answer

    @property
    def _runs_dry(self) -> bool:
        """Whether the server has nothing to do, or soon won't have, as what waits to be written keeps Ray back."""
        client = self._client
        return not client.waiting and (not client.in_flight or self._commit.waiting >= client.address.limit)

    # These two belong to the event loop of the calls, which does not run yet in __init__.

    @cached_property
    def _client(self) -> Client:
        self.keeper.farewell = self._commit.flush
        return Client(self.address, self.settings, self.schema, self.keeper, self.doubts, logprobs=self.logprobs)

    @cached_property
    def _commit(self) -> GroupCommit:
        asked = self.settings.ledger
        return GroupCommit(self.journal, rows=asked.flush_rows, age_s=asked.flush_s)

    def _state(self) -> MetricsState:
        client: Client | None = vars(self).get("_client")  # made by the loop of the calls, not from here
        if client is None:
            return MetricsState()
        return MetricsState(
            client.in_flight, client.waiting, max(0, self.keeper.starts - 1), client.address.metrics
        )

    def _leave(self, within_s: float) -> None:
        """End the process within so many seconds; before the first batch there is nothing to wait for."""
        if self._loop:
            asyncio.run_coroutine_threadsafe(self._drain(within_s), self._loop)
        else:
            asyncio.run(self.keeper.leave("told to go"))

    async def _drain(self, within_s: float) -> None:
        """What is answered is written down at once, what is under way may end, and nothing else is asked: it is
        for the actor's next place."""
        name = self.keeper.server.name
        say(f"{name}: told to go, its requests have {within_s:.0f} s to end")
        await self._commit.flush()
        left = await self._client.drain(within_s)
        await self.doubts.settle()
        await self.keeper.leave(f"gone, {left} requests left")

    async def _canary(self) -> None:
        """One request with the real schema must come back as a profile before any document is sent. A server that
        refuses log-probabilities is asked for none."""
        answer, name = await self._test_answer(), self.keeper.server.name
        if answer.fault is Fault.REJECTED and self.logprobs:
            self.logprobs = False
            answer = await self._test_answer()
            if not answer.fault:
                say(f"{name}: it gives no log-probabilities, confidence goes without them")
        if answer.fault:
            raise RunError(
                f"{name} at {self.address.url} does not answer a test request: {answer.message}. "
                "No document was sent to it"
            )

    async def _test_answer(self) -> Result:
        client = Client(self.address, self.settings, self.schema, logprobs=self.logprobs)
        room = min(CANARY_TOKENS, self.settings.limits.max_output_tokens)
        try:
            return await client.ask(Request("canary", CANARY, 0, room))
        finally:
            await client.close()

    def __del__(self) -> None:
        if hasattr(self, "keeper"):
            self.keeper.stop()


def _tell(tell: Callable[[Ready], None], name: str, address: ServerAddress, starts: int, seconds: float) -> None:
    """Tell of a server that is ready. That nobody could be told is no reason to stop."""
    try:
        tell(Ready(HERE, name, address.limit, starts, seconds, time.time(), address.facts))
    except Exception as error:
        say(f"{name}: what is known of it could not be written down ({error})")
