"""The extractor: a row for every chunk, in order, and none before it is written down."""

import asyncio
import gc
import json
import os
import signal
import threading
import time
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from actors.extractor import RESULT_TEXTS, RESULTS, Extractor, GroupCommit, Journal
from actors.retrying_client import HERE, Result
from actors.servers.endpoint import EndpointServer
from actors.servers.process import free_port
from actors.servers.supervisor import Ready
from extraction.errors import Fault, OperatorError, RunError
from tests.actors.asking import SCHEMA, TEXT, question, settings
from tests.actors.extracting import MemoryJournal, answer_all, asked_texts, batch, extractor, texts
from tests.actors.processes import OwnedFake, eventually, gone
from tests.actors.scripted import Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer

SPOILED = {
    "400": Fault.TOO_LONG,
    "503": Fault.UNAVAILABLE,
    "reset": Fault.UNAVAILABLE,
    "truncated": Fault.TRUNCATED,
    "invalid": Fault.INVALID,
    "loop": Fault.REPETITION,
    "abort": Fault.ABORTED,
    "huge=20": Fault.INVALID,
}


@pytest.fixture
def endpoint(fake: FakeServer) -> EndpointServer:
    """The module's fake server as somebody else's."""
    return EndpointServer(settings(endpoint={"url": fake.url, "concurrency": 4}))


@pytest.fixture
def owned(tmp_path: Path) -> Iterator[OwnedFake]:
    """A fake server of the extractor's own, whose answers take a while."""
    server = OwnedFake(tmp_path, "--latency", "0.3", limit=2)
    yield server
    server.stop()


def test_every_chunk_becomes_one_row_in_order(endpoint: EndpointServer) -> None:
    journal = MemoryJournal()
    late = [f"{TEXT} {n} [[fault:delay={(9 - n) / 50}]]" for n in range(10)]
    (rows,) = answer_all(extractor(endpoint, journal), texts(*late))
    assert rows["chunk_id"].to_pylist() == [f"c{n}" for n in range(10)]
    assert rows["fault"].null_count == 10
    assert sorted(answer.chunk_id for answer in journal.written) == sorted(rows["chunk_id"].to_pylist())
    assert all(answer.replies and "Acme" in answer.replies[0] for answer in journal.written)


def test_rows_carry_no_replies(endpoint: EndpointServer) -> None:
    (rows,) = answer_all(extractor(endpoint), texts(TEXT))
    assert rows.schema.names == [name for name in RESULTS.names if name not in RESULT_TEXTS]


def test_an_empty_batch_is_an_empty_table(endpoint: EndpointServer) -> None:
    (rows,) = answer_all(extractor(endpoint), texts(TEXT).slice(0, 0))
    assert (rows.num_rows, rows.schema.names) == (0, [n for n in RESULTS.names if n not in RESULT_TEXTS])


def test_batches_share_one_server(endpoint: EndpointServer) -> None:
    batches = [batch(*(question(f"{TEXT} {b}", f"b{b}c{n}") for n in range(7))) for b in range(5)]
    answered = answer_all(extractor(endpoint), *batches)
    assert [rows["chunk_id"].to_pylist() for rows in answered] == [b["chunk_id"].to_pylist() for b in batches]
    assert max(max(rows["in_flight"].to_pylist()) for rows in answered) <= 4


def test_what_the_journal_holds_is_not_asked_again(fake: FakeServer, endpoint: EndpointServer) -> None:
    held = Result("c1", replies=("{}",), attempts=7, prompt_tokens=123)
    journal = MemoryJournal(held, Result("c2", fault=Fault.INVALID, message="as before"))
    before = fake.stats()["requests"]
    (rows,) = answer_all(extractor(endpoint, journal), texts(*(f"{TEXT} {n}" for n in range(4))))
    assert fake.stats()["requests"] - before == 2 + 1  # and the canary
    assert rows["chunk_id"].to_pylist() == ["c0", "c1", "c2", "c3"]
    assert rows["attempts"].to_pylist() == [1, 7, 0, 1]
    assert rows["message"].to_pylist()[2] == "as before"
    assert sorted(answer.chunk_id for answer in journal.written) == ["c0", "c3"]


def test_a_fault_of_a_document_is_a_row(endpoint: EndpointServer) -> None:
    journal = MemoryJournal()
    marked = [f"{TEXT} [[fault:{name}]]" for name in SPOILED]
    (rows,) = answer_all(extractor(endpoint, journal), texts(*marked, TEXT))
    assert rows["fault"].to_pylist() == [*(fault.value for fault in SPOILED.values()), None]
    assert all(rows["message"].to_pylist()[:-1])
    assert sum(not answer.replies for answer in journal.written) == len(SPOILED)


def test_a_mistake_of_the_operator_is_raised(endpoint: EndpointServer) -> None:
    actor = extractor(endpoint)
    with pytest.raises(OperatorError, match="refused the key"):
        answer_all(actor, texts(TEXT, f"{TEXT} [[fault:401]]"))


def test_no_row_leaves_that_is_not_written_down(endpoint: EndpointServer) -> None:
    actor = extractor(endpoint, MemoryJournal(failures=1))
    with pytest.raises(OSError, match="no space left"):
        answer_all(actor, texts(TEXT))


def test_its_first_words_say_when_it_is_ready(endpoint: EndpointServer, capfd: pytest.CaptureFixture[str]) -> None:
    extractor(endpoint)
    assert capfd.readouterr().err.endswith("s, 4 requests at a time\n")


def test_it_tells_of_its_server_whenever_that_is_ready(owned: OwnedFake) -> None:
    told: list[Ready] = []
    journal = MemoryJournal()
    actor = Extractor(settings(), SCHEMA, lambda: owned, lambda: journal, told.append)
    actor.keeper.start()
    assert [one.starts for one in told] == [1, 2]
    assert (told[0].server, told[0].name, told[0].limit) == (HERE, "fake", 2)
    assert 0 < told[0].start_s < 60
    assert told[0].ready_at < told[1].ready_at


def test_it_works_where_it_cannot_tell(endpoint: EndpointServer, capfd: pytest.CaptureFixture[str]) -> None:
    def tell(_: Ready) -> None:
        raise OSError("no storage")

    journal = MemoryJournal()
    (rows,) = answer_all(Extractor(settings(), SCHEMA, lambda: endpoint, lambda: journal, tell), texts(TEXT))
    assert rows["fault"].null_count == 1
    assert "could not be written down (no storage)" in capfd.readouterr().err


def test_a_server_without_sense_gets_no_document(tmp_path: Path) -> None:
    server = OwnedFake(tmp_path, "--order", '[{"fault": "invalid", "count": null}]')
    with pytest.raises(RunError, match=r"fake at http://\S+ does not answer a test request.*No document was sent"):
        extractor(server)
    assert not server.alive
    assert asked_texts(server.journal) == 2


def test_a_server_that_refuses_the_request_gets_no_document(tmp_path: Path) -> None:
    server = OwnedFake(tmp_path, "--order", '[{"fault": "404"}]')
    with pytest.raises(OperatorError, match="serves no model"):
        extractor(server)
    assert not server.alive


def test_an_endpoint_where_nobody_is_gets_no_document() -> None:
    asked = settings(endpoint={"url": f"http://127.0.0.1:{free_port()}"})
    with pytest.raises(RunError, match=r"endpoint at \S+ does not answer a test request"):
        extractor(EndpointServer(asked), asked=asked)


def test_a_server_that_cannot_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"(?s)status 1 before it was ready.*no such model"):
        extractor(OwnedFake(tmp_path, "--fail-start", "no such model"))


def test_a_server_that_is_killed_comes_back_and_every_row_is_answered(owned: OwnedFake) -> None:
    journal = MemoryJournal()
    patient = settings(requests={"attempts": 5, "backoff_s": 0.1, "backoff_max_s": 1})
    actor = extractor(owned, journal, patient)
    assert owned.process and owned.process.pid
    (served,) = psutil.Process(owned.process.pid).children()

    def kill_once_busy() -> None:
        if eventually(lambda: asked_texts(owned.journal) >= 4):
            os.kill(served.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_once_busy)
    killer.start()
    (rows,) = answer_all(actor, texts(*(f"{TEXT} {n}" for n in range(8))))
    killer.join()
    assert rows["fault"].null_count == 8
    assert len(journal.written) == 8
    assert max(rows["attempts"].to_pylist()) > 1
    first, second = owned.addresses
    assert (first.url, first.api_key) != (second.url, second.api_key)


def test_its_server_goes_with_it(owned: OwnedFake) -> None:
    actor: Extractor | None = extractor(owned)
    assert actor and owned.process and owned.process.pid
    pid = owned.process.pid
    del actor
    assert eventually(lambda: gone(pid))


def test_a_server_that_runs_dry_waits_for_no_flush(owned: OwnedFake) -> None:
    journal = MemoryJournal()
    actor = extractor(owned, journal, settings(ledger={"flush_s": 600, "flush_rows": 1000}))
    answer_all(actor, texts(*(f"{TEXT} {n}" for n in range(9))))
    assert len(journal.written) == 9
    actor.keeper.stop()


def test_a_server_that_refuses_log_probabilities_is_asked_for_none() -> None:
    refusal = Reply(json.dumps({"error": {"message": "logprobs are not supported"}}).encode(), status=400)
    journal = MemoryJournal()
    with ScriptedServer(refusal, completion()) as server:
        host = EndpointServer(settings(endpoint={"url": server.address.url, "concurrency": 1}))
        answer_all(extractor(host, journal), texts(TEXT))
        asked = [request.body.get("logprobs", False) for request in server.asked]
    assert asked == [True, False, False]
    assert journal.written[0].replies and journal.written[0].scores == ((),)


LONG_S = 60.0


class GatedJournal:
    """Keeps groups in a list; waits at its gate, and fails as often as it is told to."""

    def __init__(self, failures: int = 0) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures = failures

    def held(self) -> dict[str, Result]:
        return {}

    def append(self, answers: list[Result]) -> None:
        assert self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.groups.append([answer.chunk_id for answer in answers])


def answers(count: int, first: int = 0) -> list[Result]:
    return [Result(f"c{n}") for n in range(first, first + count)]


def add_all(commit: GroupCommit, some: list[Result]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(commit.add(answer)) for answer in some]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_add_returns_only_once_the_answer_is_written() -> None:
    async def check() -> None:
        journal = GatedJournal()
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
        journal = GatedJournal()
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
        journal = GatedJournal()
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
        journal = GatedJournal()
        commit = GroupCommit(journal, rows=2, age_s=0.4)
        first = add_all(commit, answers(1))
        await asyncio.sleep(0.3)
        await asyncio.gather(*first, *add_all(commit, answers(1, first=1)))
        began = time.monotonic()
        await commit.add(Result("c2"))
        assert time.monotonic() - began >= 0.35
        assert journal.groups == [["c0", "c1"], ["c2"]]

    run(check())


def test_answers_come_in_while_a_group_is_written() -> None:
    async def check() -> None:
        journal = GatedJournal()
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
        journal = GatedJournal(failures=1)
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
        journal = GatedJournal(failures)
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
        commit = GroupCommit(GatedJournal(failures=1), rows=100, age_s=0.05)
        (task,) = add_all(commit, answers(1))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.2)

    run(check())
    gc.collect()
    assert caplog.text == ""


def test_a_flush_writes_what_waits_and_what_is_being_written() -> None:
    async def check() -> None:
        journal = GatedJournal()
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
        journal = GatedJournal(failures=1)
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
    journal: Journal = GatedJournal()
    assert journal.held() == {}
