"""The extractor: one actor, one server, kept full of requests across all batches that Ray Data hands it."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Protocol

import pyarrow as pa

from actors.client import Answer, Client, Question
from actors.server import Address, Server
from extraction.errors import RunError
from extraction.prompt import content_of
from extraction.settings import Settings

CANARY_TEXT = "Alder & Finch Ltd makes oak furniture in Galway, Ireland. It was founded in 1998."
CANARY_TOKENS = 1024

ANSWERS = pa.schema(
    [
        ("chunk_id", pa.string()),
        ("reply", pa.string()),
        ("fault", pa.string()),
        ("message", pa.string()),
        ("attempts", pa.int32()),
        ("prompt_tokens", pa.int64()),
        ("cached_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("latency_s", pa.float64()),
        ("in_flight", pa.int32()),
    ]
)


class Journal(Protocol):
    """Where answers are kept. `held` are those that this actor wrote before it was restarted."""

    def held(self) -> dict[str, Answer]:
        """Answers by chunk id."""
        ...

    def append(self, answers: list[Answer]) -> None:
        """Make answers durable; blocks."""
        ...


class Extractor:
    """A Ray Data callable: a batch of chunks in, their answers out, in order and one each.

    An answer leaves only when the journal has it. No document's fault raises; a server that can't be
    kept alive ends the process, so that Ray places the actor anew.
    """

    def __init__(
        self,
        settings: Settings,
        schema: dict[str, Any],
        make_server: Callable[[], Server],
        make_journal: Callable[[], Journal],
    ) -> None:
        self.settings, self.schema = settings, schema
        self.journal = make_journal()
        self.held = self.journal.held()
        self.server = make_server()
        # The kernel ties a server to the thread that spawned it: this one lives as long as the actor.
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._deaths: deque[float] = deque(maxlen=settings.servers.max_deaths)
        began = time.monotonic()
        self.address: Address = self._keeper.submit(self.server.start).result()
        asyncio.run(self._canary())
        took = time.monotonic() - began
        say(f"{self.server.name}: ready in {took:.1f} s, {self.address.limit} requests at a time")
        self._client: Client | None = None
        self._reviving: asyncio.Lock | None = None
        self._batcher: _Batcher | None = None

    async def __call__(self, batch: pa.Table) -> pa.Table:
        """Ask for every chunk of a batch at once; the server's limit decides how many are under way."""
        if self._client is None:
            self._reviving = asyncio.Lock()
            self._client = Client(self.address, self.settings, self.schema, self._revive)
            self._batcher = _Batcher(
                self._write, self.settings.ledger.flush_rows, self.settings.ledger.flush_s
            )
        questions = [Question(**row) for row in batch.select(Question.__slots__).to_pylist()]
        answers = await asyncio.gather(*map(self._answer, questions))
        return pa.Table.from_pylist([asdict(answer) for answer in answers], ANSWERS).drop_columns(["reply"])

    async def _answer(self, question: Question) -> Answer:
        if question.chunk_id in self.held:
            return self.held[question.chunk_id]
        assert self._client and self._batcher
        answer = await self._client.ask(question)
        await self._batcher.add(answer)
        return answer

    async def _write(self, answers: list[Answer]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self.journal.append, answers)

    async def _canary(self) -> None:
        """One request with the real schema must come back as a profile before any document is sent."""
        client = Client(self.address, self.settings, self.schema)
        content, _ = content_of(None, CANARY_TEXT)
        room = min(CANARY_TOKENS, self.settings.limits.max_output_tokens)
        try:
            answer = await client.ask(Question("canary", content, 0, room))
        finally:
            await client.close()
        if answer.fault:
            self.server.stop()
            raise RunError(
                f"{self.server.name} at {self.address.url} does not answer a test request: {answer.message}. "
                "Nothing was sent to it"
            )

    async def _revive(self) -> None:
        """Start the server again if it died; whoever comes meanwhile waits. Gives up after too many deaths."""
        assert self._client and self._reviving
        async with self._reviving:
            if self.server.alive:
                return
            now, asked = time.monotonic(), self.settings.servers
            self._deaths.append(now)
            if len(self._deaths) == asked.max_deaths and now - self._deaths[0] < asked.deaths_within_s:
                say(
                    f"{self.server.name}: died {asked.max_deaths} times in {asked.deaths_within_s:g} s, giving up"
                )
                os._exit(1)
            say(f"{self.server.name}: died, starting it again")
            try:
                self.address = await asyncio.get_running_loop().run_in_executor(
                    self._keeper, self.server.start
                )
            except RunError as error:
                say(f"{self.server.name}: {error}")
                os._exit(1)
            await self._client.reconnect(self.address)

    def __del__(self) -> None:
        if hasattr(self, "_keeper"):
            self.server.stop()


class _Batcher:
    """Groups answers into writes of up to `rows`, none older than `age_s`, and waits until they are written."""

    def __init__(self, write: Callable[[list[Answer]], Awaitable[None]], rows: int, age_s: float) -> None:
        self._write, self._rows, self._age_s = write, rows, age_s
        self._waiting: list[Answer] = []
        self._written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._writes: set[asyncio.Task[None]] = set()

    async def add(self, answer: Answer) -> None:
        """Return once the answer is written."""
        self._waiting.append(answer)
        written = self._written
        if len(self._waiting) >= self._rows:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._age_s, self._flush)
        await asyncio.shield(written)

    def _flush(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        answers, self._waiting = self._waiting, []
        written, self._written = self._written, asyncio.get_running_loop().create_future()
        if not answers:
            return

        async def write() -> None:
            try:
                await self._write(answers)
            except BaseException as error:
                written.set_exception(error)
            else:
                written.set_result(None)

        task = asyncio.get_running_loop().create_task(write())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)


def say(line: str) -> None:
    """A line in the actor's log, which Ray brings to the driver."""
    print(line, file=sys.stderr, flush=True)
