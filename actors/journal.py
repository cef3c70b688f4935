"""The journal: where an actor's answers are made durable before anybody hears of them."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from actors.client import Answer


class Journal(Protocol):
    """A place that keeps answers."""

    def held(self) -> dict[str, Answer]:
        """Answers by chunk id that this actor wrote before it was restarted."""
        ...

    def append(self, answers: list[Answer]) -> None:
        """Make answers durable; blocks."""
        ...


class GroupCommit:
    """Writes answers together: when there are `rows` of them, or the first has waited `age_s`."""

    def __init__(self, journal: Journal, *, rows: int, age_s: float) -> None:
        self._journal, self._rows, self._age_s = journal, rows, age_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Answer] = []
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

    async def add(self, answer: Answer, *, at_once: bool = False) -> None:
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

    async def _write(self, answers: list[Answer], written: asyncio.Future[None]) -> None:
        try:
            await self._loop.run_in_executor(self._thread, self._journal.append, answers)
        except Exception as error:
            written.set_exception(error)
            written.exception()  # seen, also when all who waited were cancelled
        else:
            written.set_result(None)
