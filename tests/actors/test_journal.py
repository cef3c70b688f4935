"""Group commit: an answer counts once the journal has it, and the journal is asked seldom."""

import asyncio
import gc
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from actors.extractor import GroupCommit, Journal
from actors.retrying_client import Answer

LONG_S = 60.0


class MemoryJournal:
    """Keeps groups in a list; waits at its gate, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures = failures

    def held(self) -> dict[str, Answer]:
        return {}

    def append(self, answers: list[Answer]) -> None:
        assert self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.groups.append([answer.chunk_id for answer in answers])


def answers(count: int, first: int = 0) -> list[Answer]:
    return [Answer(f"c{n}") for n in range(first, first + count)]


def add_all(commit: GroupCommit, some: list[Answer]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(commit.add(answer)) for answer in some]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_add_returns_only_once_the_answer_is_written() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        journal.gate.clear()
        commit = GroupCommit(journal, rows=2, age_s=LONG_S)
        tasks = add_all(commit, answers(2))
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks) and journal.groups == []
        journal.gate.set()
        await asyncio.gather(*tasks)
        assert journal.groups == [["c0", "c1"]]

    run(check())


def test_a_group_is_full_at_its_number_of_rows() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        commit = GroupCommit(journal, rows=4, age_s=0.2)
        tasks = add_all(commit, answers(10))
        await asyncio.gather(*tasks[:8])
        assert journal.groups == [["c0", "c1", "c2", "c3"], ["c4", "c5", "c6", "c7"]]
        assert not tasks[8].done()
        await asyncio.gather(*tasks)
        assert journal.groups[2:] == [["c8", "c9"]]

    run(check())


def test_a_group_is_written_when_its_first_answer_is_old_enough() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        commit = GroupCommit(journal, rows=100, age_s=0.6)
        began = time.monotonic()
        first = add_all(commit, answers(1))
        await asyncio.sleep(0.4)
        second = add_all(commit, answers(1, first=1))
        await asyncio.gather(*first, *second)
        assert 0.55 <= time.monotonic() - began < 0.95
        assert journal.groups == [["c0", "c1"]]

    run(check())


def test_an_old_timer_does_not_hurry_the_next_group() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        commit = GroupCommit(journal, rows=2, age_s=0.4)
        first = add_all(commit, answers(1))
        await asyncio.sleep(0.3)
        await asyncio.gather(*first, *add_all(commit, answers(1, first=1)))
        began = time.monotonic()
        await commit.add(Answer("c2"))
        assert time.monotonic() - began >= 0.35
        assert journal.groups == [["c0", "c1"], ["c2"]]

    run(check())


def test_answers_come_in_while_a_group_is_written() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        journal.gate.clear()
        commit = GroupCommit(journal, rows=2, age_s=LONG_S)
        tasks = add_all(commit, answers(6))
        await asyncio.sleep(0.05)
        journal.gate.set()
        await asyncio.gather(*tasks)
        assert journal.groups == [["c0", "c1"], ["c2", "c3"], ["c4", "c5"]]

    run(check())


def test_a_failing_journal_raises_to_everyone_in_the_group_and_goes_on() -> None:
    async def check() -> None:
        journal = MemoryJournal(failures=1)
        commit = GroupCommit(journal, rows=3, age_s=LONG_S)
        first = await asyncio.gather(*add_all(commit, answers(3)), return_exceptions=True)
        assert [str(error) for error in first] == ["no space left"] * 3
        assert all(isinstance(error, OSError) for error in first)
        await asyncio.gather(*add_all(commit, answers(3, first=3)))
        assert journal.groups == [["c3", "c4", "c5"]]

    run(check())


@pytest.mark.parametrize("failures", [0, 1])
def test_who_is_cancelled_takes_nothing_from_the_others(failures: int) -> None:
    async def check() -> None:
        journal = MemoryJournal(failures)
        commit = GroupCommit(journal, rows=3, age_s=LONG_S)
        tasks = add_all(commit, answers(2))
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks += add_all(commit, answers(1, first=2))
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError)
        assert [isinstance(end, OSError) for end in ends[1:]] == [bool(failures)] * 2
        assert journal.groups == ([] if failures else [["c0", "c1", "c2"]])

    run(check())


def test_a_lone_failure_that_nobody_waits_for_makes_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        commit = GroupCommit(MemoryJournal(failures=1), rows=100, age_s=0.05)
        (task,) = add_all(commit, answers(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.2)

    run(check())
    gc.collect()
    assert caplog.text == ""


def test_a_flush_writes_what_waits_and_what_is_being_written() -> None:
    async def check() -> None:
        journal = MemoryJournal()
        journal.gate.clear()
        commit = GroupCommit(journal, rows=2, age_s=LONG_S)
        tasks = add_all(commit, answers(3))
        await asyncio.sleep(0)
        flush = asyncio.create_task(commit.flush())
        await asyncio.sleep(0.05)
        assert not flush.done()
        journal.gate.set()
        await flush
        assert journal.groups == [["c0", "c1"], ["c2"]]
        await asyncio.gather(*tasks)

    run(check())


def test_a_flush_of_nothing_writes_nothing_and_one_that_fails_raises_to_who_waits_alone() -> None:
    async def check() -> None:
        journal = MemoryJournal(failures=1)
        commit = GroupCommit(journal, rows=100, age_s=LONG_S)
        await commit.flush()
        assert journal.failures == 1
        (task,) = add_all(commit, answers(1))
        await asyncio.sleep(0)
        await commit.flush()
        with pytest.raises(OSError, match="no space left"):
            await task
        assert journal.groups == []

    run(check())


def test_the_memory_journal_is_a_journal() -> None:
    journal: Journal = MemoryJournal()
    assert journal.held() == {}
