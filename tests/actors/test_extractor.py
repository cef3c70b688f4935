"""The extractor returns a row for every chunk, in order, and none before it is written."""

import asyncio
import gc
import json
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from actors.extractor import BatchedWriter, Extractor
from actors.results import RESULT_TEXTS, RESULTS, Result
from actors.servers.endpoint import EndpointServer
from actors.servers.supervisor import PROCESS_NAME, ServerReady
from extraction.errors import Fault, OperatorError, RunError
from tests.actors.clients import (
    TEXT,
    MemoryRecords,
    MemoryStore,
    batch,
    make_extractor,
    make_request,
    make_settings,
    run_batches,
    text_batch,
)
from tests.actors.processes import FakeEngine
from tests.actors.scripted_server import Reply, ScriptedServer, completion
from tests.fakes.process import FakeServer, eventually, gone

SPOILED = {"400": Fault.TOO_LONG, "503": Fault.UNAVAILABLE, "invalid": Fault.INVALID}


@pytest.fixture
def endpoint(fake: FakeServer) -> EndpointServer:
    """The module's fake server as somebody else's."""
    return EndpointServer(make_settings(endpoint={"url": fake.url, "concurrency": 4}))


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A fake server of the extractor's own, whose replies take a while."""
    server = FakeEngine(tmp_path, "--latency", "0.3", limit=2)
    yield server
    server.stop()


def test_every_chunk_becomes_one_row_in_order(endpoint: EndpointServer) -> None:
    store = MemoryStore()
    texts = [f"{TEXT} {n} [[fault:delay={(9 - n) / 50}]]" for n in range(10)]
    (rows,) = run_batches(make_extractor(endpoint, store), text_batch(*texts))
    assert rows["chunk_id"].to_pylist() == [f"c{n}" for n in range(10)]
    assert rows["fault"].null_count == 10
    assert sorted(result.chunk_id for result in store.written) == sorted(rows["chunk_id"].to_pylist())
    assert all(result.replies and "Acme" in result.replies[0] for result in store.written)


def test_rows_carry_no_replies(endpoint: EndpointServer) -> None:
    (rows,) = run_batches(make_extractor(endpoint), text_batch(TEXT))
    assert rows.schema.names == [name for name in RESULTS.names if name not in RESULT_TEXTS]


def test_batches_share_one_server(endpoint: EndpointServer) -> None:
    batches = [batch(*(make_request(f"{TEXT} {b}", f"b{b}c{n}") for n in range(7))) for b in range(5)]
    tables = run_batches(make_extractor(endpoint), *batches)
    assert [rows["chunk_id"].to_pylist() for rows in tables] == [b["chunk_id"].to_pylist() for b in batches]
    assert max(max(rows["in_flight"].to_pylist()) for rows in tables) <= 4


def test_what_the_store_holds_is_not_sent_again(fake: FakeServer, endpoint: EndpointServer) -> None:
    held = Result("c1", replies=("{}",), attempts=7, prompt_tokens=123)
    store = MemoryStore(held, Result("c2", fault=Fault.INVALID, message="as before"))
    before = fake.stats()["requests"]
    (rows,) = run_batches(make_extractor(endpoint, store), text_batch(*(f"{TEXT} {n}" for n in range(4))))
    assert fake.stats()["requests"] - before == 2 + 1  # and the canary
    assert rows["chunk_id"].to_pylist() == ["c0", "c1", "c2", "c3"]
    assert rows["attempts"].to_pylist() == [1, 7, 0, 1]
    assert rows["message"].to_pylist()[2] == "as before"
    assert sorted(result.chunk_id for result in store.written) == ["c0", "c3"]


def test_a_fault_of_a_document_is_a_row(endpoint: EndpointServer) -> None:
    store = MemoryStore()
    texts = [f"{TEXT} [[fault:{name}]]" for name in SPOILED]
    (rows,) = run_batches(make_extractor(endpoint, store), text_batch(*texts, TEXT))
    assert rows["fault"].to_pylist() == [*(fault.value for fault in SPOILED.values()), None]
    assert all(rows["message"].to_pylist()[:-1])
    assert sum(not result.replies for result in store.written) == len(SPOILED)


def test_a_mistake_of_the_operator_is_raised(endpoint: EndpointServer) -> None:
    extractor = make_extractor(endpoint)
    with pytest.raises(OperatorError, match="refused the key"):
        run_batches(extractor, text_batch(TEXT, f"{TEXT} [[fault:401]]"))


def test_a_failed_write_is_raised(endpoint: EndpointServer) -> None:
    extractor = make_extractor(endpoint, MemoryStore(failures=1))
    with pytest.raises(OSError, match="no space left"):
        run_batches(extractor, text_batch(TEXT))


def test_each_start_of_its_server_is_reported(engine: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    records = MemoryRecords()
    extractor = make_extractor(engine, records=records)
    extractor.supervisor.ready(extractor.supervisor.start())
    first, second = records.ready
    assert (first.server, first.name, first.limit, first.starts) == (PROCESS_NAME, "fake", 2, 1)
    assert 0 < first.start_s < 60
    assert (second.starts, first.ready_at < second.ready_at) == (2, True)
    assert capfd.readouterr().err.endswith("s, 2 requests at a time\n")


def test_a_failed_report_stops_nothing(endpoint: EndpointServer, capfd: pytest.CaptureFixture[str]) -> None:
    class FullDisk(MemoryRecords):
        def server_ready(self, ready: ServerReady) -> None:
            raise OSError("no storage")

    (rows,) = run_batches(make_extractor(endpoint, records=FullDisk()), text_batch(TEXT))
    assert rows["fault"].null_count == 1
    assert "could not be written down (no storage)" in capfd.readouterr().err


def test_a_server_that_fails_the_canary_gets_no_document(tmp_path: Path) -> None:
    server, records = FakeEngine(tmp_path, "--order", '[{"fault": "invalid", "count": null}]'), MemoryRecords()
    with pytest.raises(
        RunError, match=r"fake at http://\S+ does not answer a test request.*No document was sent.*grammar backend"
    ):
        make_extractor(server, records=records)
    assert (server.alive, records.ready, len(records.ended)) == (False, [], 1)
    assert server.requests == 2


def test_a_server_that_refuses_the_request_gets_no_document(tmp_path: Path) -> None:
    server = FakeEngine(tmp_path, "--order", '[{"fault": "404"}]')
    with pytest.raises(OperatorError, match="serves no model"):
        make_extractor(server)
    assert not server.alive


def test_its_server_ends_with_it(engine: FakeEngine) -> None:
    extractor: Extractor | None = make_extractor(engine)
    assert extractor and engine.process and engine.process.pid
    pid = engine.process.pid
    del extractor
    assert eventually(lambda: gone(pid))


def test_an_idle_server_waits_for_no_flush(engine: FakeEngine) -> None:
    store = MemoryStore()
    extractor = make_extractor(engine, store, make_settings(ledger={"flush_s": 600, "flush_rows": 1000}))
    run_batches(extractor, text_batch(*(f"{TEXT} {n}" for n in range(9))))
    assert len(store.written) == 9
    extractor.supervisor.stop()


def test_a_server_that_refuses_log_probabilities_is_asked_for_none() -> None:
    refusal = Reply(json.dumps({"error": {"message": "logprobs are not supported"}}).encode(), status=400)
    store = MemoryStore()
    with ScriptedServer(refusal, completion()) as server:
        endpoint = EndpointServer(make_settings(endpoint={"url": server.address.url, "concurrency": 1}))
        run_batches(make_extractor(endpoint, store), text_batch(TEXT))
        logprobs = [request.body.get("logprobs", False) for request in server.requests]
    assert logprobs == [True, False, False]
    assert store.written[0].replies and store.written[0].scores == ((),)


LONG_S = 60.0


class GatedStore:
    """Keeps groups in a list; writes wait for its gate, and fail `failures` times."""

    def __init__(self, failures: int = 0) -> None:
        self.groups: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failures = failures

    def completed(self) -> dict[str, Result]:
        return {}

    def append(self, results: list[Result]) -> None:
        assert self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.groups.append([result.chunk_id for result in results])


def make_results(count: int, first: int = 0) -> list[Result]:
    return [Result(f"c{n}") for n in range(first, first + count)]


def add_all(writer: BatchedWriter, results: list[Result]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(writer.add(result)) for result in results]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def test_add_returns_only_once_the_result_is_written() -> None:
    async def check() -> None:
        store = GatedStore()
        store.gate.clear()
        writer = BatchedWriter(store, rows=2, age_s=LONG_S)
        tasks = add_all(writer, make_results(2))
        await asyncio.sleep(0.1)
        assert not any(task.done() for task in tasks) and store.groups == []
        store.gate.set()
        await asyncio.gather(*tasks)
        assert store.groups == [["c0", "c1"]]

    run(check())


def test_a_group_is_full_at_its_number_of_rows() -> None:
    async def check() -> None:
        store = GatedStore()
        writer = BatchedWriter(store, rows=4, age_s=LONG_S)
        tasks = add_all(writer, make_results(10))
        await asyncio.gather(*tasks[:8])
        assert store.groups == [["c0", "c1", "c2", "c3"], ["c4", "c5", "c6", "c7"]]
        assert not tasks[8].done() and writer.waiting == 2
        await asyncio.gather(writer.flush(), *tasks)

    run(check())


def test_a_group_is_written_when_its_first_result_is_old_enough() -> None:
    async def check() -> None:
        store, loop = GatedStore(), asyncio.get_running_loop()
        writer = BatchedWriter(store, rows=100, age_s=0.05)
        with mock.patch.object(loop, "call_later", wraps=loop.call_later) as call_later:
            first = add_all(writer, make_results(1))
            await asyncio.sleep(0)
            call_later.assert_called_once()
            await asyncio.gather(*first, *add_all(writer, make_results(1, first=1)))
        assert [call.args[0] for call in call_later.call_args_list] == [0.05]
        assert store.groups == [["c0", "c1"]]

    run(check())


def test_a_failing_store_raises_to_everyone_in_the_group_and_goes_on() -> None:
    async def check() -> None:
        store = GatedStore(failures=1)
        writer = BatchedWriter(store, rows=3, age_s=LONG_S)
        first = await asyncio.gather(*add_all(writer, make_results(3)), return_exceptions=True)
        assert [str(error) for error in first] == ["no space left"] * 3
        assert all(isinstance(error, OSError) for error in first)
        await asyncio.gather(*add_all(writer, make_results(3, first=3)))
        assert store.groups == [["c3", "c4", "c5"]]

    run(check())


@pytest.mark.parametrize("failures", [0, 1])
def test_a_cancelled_add_costs_the_others_nothing(failures: int) -> None:
    async def check() -> None:
        store = GatedStore(failures)
        writer = BatchedWriter(store, rows=3, age_s=LONG_S)
        tasks = add_all(writer, make_results(2))
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks += add_all(writer, make_results(1, first=2))
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(ends[0], asyncio.CancelledError)
        assert [isinstance(end, OSError) for end in ends[1:]] == [bool(failures)] * 2
        assert store.groups == ([] if failures else [["c0", "c1", "c2"]])

    run(check())


def test_a_failure_that_nobody_waits_for_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def check() -> None:
        writer = BatchedWriter(GatedStore(failures=1), rows=100, age_s=LONG_S)
        (task,) = add_all(writer, make_results(1))
        await asyncio.sleep(0)
        task.cancel()
        await writer.flush()

    run(check())
    gc.collect()
    assert caplog.text == ""


def test_a_flush_writes_what_waits_and_what_is_being_written() -> None:
    async def check() -> None:
        store = GatedStore()
        store.gate.clear()
        writer = BatchedWriter(store, rows=2, age_s=LONG_S)
        tasks = add_all(writer, make_results(3))
        await asyncio.sleep(0)
        flush = asyncio.create_task(writer.flush())
        await asyncio.sleep(0.05)
        assert not flush.done()
        store.gate.set()
        await flush
        assert store.groups == [["c0", "c1"], ["c2"]]
        await asyncio.gather(*tasks)

    run(check())


def test_an_empty_flush_writes_nothing_and_a_failed_one_raises_in_add_only() -> None:
    async def check() -> None:
        store = GatedStore(failures=1)
        writer = BatchedWriter(store, rows=100, age_s=LONG_S)
        await writer.flush()
        assert store.failures == 1
        (task,) = add_all(writer, make_results(1))
        await asyncio.sleep(0)
        await writer.flush()
        with pytest.raises(OSError, match="no space left"):
            await task
        assert store.groups == []

    run(check())
