"""Servers that crash or hang under a client: each chunk ends, and only the one to blame ends with a fault."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.crash_suspects import CrashRecord, CrashSuspects, SentAs
from actors.results import Request, Result
from actors.retrying_client import MAX_FREE_CRASHES, MAX_SOLO_CRASHES, Client
from actors.servers.endpoint import EndpointServer
from actors.servers.supervisor import Server, ServerAddress, ServerSupervisor
from extraction.config.settings import Settings
from extraction.errors import Fault
from tests.actors.clients import (
    NOWHERE,
    SCHEMA,
    TEXT,
    MemoryRecords,
    address_of,
    make_extractor,
    make_request,
    make_settings,
    run_batches,
    text_batch,
)
from tests.actors.processes import FakeEngine
from tests.fakes.process import FakeServer

WINDOW_S = 600


class MemorySuspects:
    """A suspect store in memory, with records as JSON returns them."""

    def __init__(self, stored: dict[str, Any] | None = None) -> None:
        self.stored, self.written = stored, list[dict[str, Any]]()

    def read(self) -> dict[str, Any] | None:
        return self.stored

    def write(self, records: dict[str, Any]) -> None:
        self.written.append({chunk_id: list(record) for chunk_id, record in records.items()})


class FullDisk(MemorySuspects):
    """A suspect store on a full disk."""

    def write(self, records: dict[str, Any]) -> None:
        raise OSError("no space left")


def send_one(suspects: CrashSuspects, chunk_id: str, *, alone: bool = False) -> tuple[int, int]:
    """Send one request; the crashes under it so far."""

    async def send() -> tuple[int, int]:
        with suspects.track(chunk_id) as cost:
            async with suspects.in_flight(cost, alone=alone):
                return cost.crashes, cost.solo_crashes

    return asyncio.run(send())


def test_without_a_crash_nothing_is_written() -> None:
    store = MemorySuspects()
    assert send_one(CrashSuspects(store, WINDOW_S), "a") == (0, 0)
    assert store.written == []


def test_after_a_crash_requests_are_written_before_they_are_sent() -> None:
    store = MemorySuspects()
    suspects = CrashSuspects(store, WINDOW_S)
    suspects.record_crash()
    send_one(suspects, "a")
    assert store.written == [{"a": [0, 0, "shared"]}]


def test_a_restarted_actor_without_records_writes_from_the_start() -> None:
    store = MemorySuspects({})
    send_one(CrashSuspects(store, WINDOW_S), "a")
    assert store.written == [{"a": [0, 0, "shared"]}]


def test_after_the_window_one_write_clears_the_store() -> None:
    store = MemorySuspects({"old": [1, 0, ""]})
    suspects = CrashSuspects(store, window_s=-1)
    send_one(suspects, "a")
    send_one(suspects, "b")
    assert store.written == [{}]


def test_records_of_requests_that_were_not_sent_again_yet_are_kept() -> None:
    store = MemorySuspects({"late": [1, 0, "shared"]})
    send_one(CrashSuspects(store, WINDOW_S), "a")
    assert store.written == [{"late": [2, 0, ""], "a": [0, 0, "shared"]}]


def test_many_requests_cause_few_writes() -> None:
    store = MemorySuspects({})
    suspects = CrashSuspects(store, WINDOW_S)

    async def send(chunk_id: str, all_sent: asyncio.Barrier) -> None:
        with suspects.track(chunk_id) as cost:
            async with suspects.in_flight(cost, alone=False):
                await all_sent.wait()

    async def send_all() -> None:
        all_sent = asyncio.Barrier(50)
        await asyncio.gather(*(send(str(n), all_sent) for n in range(50)))

    asyncio.run(asyncio.wait_for(send_all(), 20))
    assert len(store.written[-1]) == 50
    assert len(store.written) < 10


def test_an_orderly_shutdown_stores_no_suspects() -> None:
    store = MemorySuspects({})
    suspects = CrashSuspects(store, WINDOW_S)

    async def shut_down() -> None:
        with suspects.track("a") as cost:
            async with suspects.in_flight(cost, alone=True):
                await suspects.clear()

    asyncio.run(shut_down())
    assert store.written[-1] == {}


def test_a_failing_storage_fails_no_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert send_one(CrashSuspects(FullDisk({}), WINDOW_S), "a") == (0, 0)
    assert "no space left" in capsys.readouterr().err


@given(st.lists(st.sampled_from(["", "shared", "alone"]), max_size=8))
def test_each_restart_during_a_request_counts_once(sent: list[SentAs]) -> None:
    """Starts of one actor, each ending with the request in flight as `sent` lists it."""
    stored: dict[str, Any] = {"a": [0, 0, ""]}
    for sent_as in sent:
        store = MemorySuspects(stored)
        suspects = CrashSuspects(store, WINDOW_S)
        if sent_as:
            send_one(suspects, "a", alone=sent_as == "alone")
            stored = store.written[-1]
        else:
            send_one(suspects, "b")
            stored = {
                chunk_id: [*record[:2], ""] for chunk_id, record in store.written[-1].items() if chunk_id == "a"
            }
    record = CrashRecord(*stored.get("a", ())).after_restart()
    assert record.crashes == sum(map(bool, sent))
    assert record.solo_crashes == sent.count("alone")


def test_a_request_that_crashed_the_actor_twice_alone_is_not_sent_again(tmp_path: Path) -> None:
    server = FakeEngine(tmp_path)
    store = MemorySuspects({"c0": [3, MAX_SOLO_CRASHES - 1, "alone"]})
    extractor = make_extractor(server, records=MemoryRecords(suspects=store))
    (rows,) = run_batches(extractor, text_batch(TEXT, f"{TEXT} 1"))
    assert rows["fault"].to_pylist() == [Fault.POISON.value, None]
    extractor.supervisor.stop()


POISON = f"{TEXT} [[fault:crash]]"


def extract_supervised(
    server: Server, settings: Settings, *requests: Request, meanwhile: Callable[[], None] | None = None
) -> list[Result]:
    """Send all requests together to a server under a supervisor; `meanwhile` runs in a thread of its own."""
    supervisor = ServerSupervisor(server, settings.servers)
    address = supervisor.start()
    thread = threading.Thread(target=meanwhile or (lambda: None))

    async def extract_all() -> list[Result]:
        client = Client(address, settings, SCHEMA, supervisor)
        try:
            thread.start()
            return await asyncio.gather(*map(client.extract, requests))
        finally:
            await client.close()

    try:
        return asyncio.run(extract_all())
    finally:
        thread.join()
        supervisor.stop()


def patient(deadline_s: float = 20, attempts: int = 1, **servers: Any) -> Settings:
    """Settings under which only a server's crash costs no attempt."""
    return make_settings(requests={"deadline_s": deadline_s, "attempts": attempts}, servers=servers)


def make_requests(*texts: str) -> list[Request]:
    return [make_request(text, f"c{n}") for n, text in enumerate(texts)]


def neighbours(count: int, fault: str = "", first: str = "") -> list[str]:
    """Texts with a fault, the first with another."""
    return [f"{TEXT} {n} {fault if n else first or fault}" for n in range(count)]


SLOW = "[[fault:delay=1]]"  # in flight while all others are


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    """A fake server of the client's own, whose replies take a moment."""
    server = FakeEngine(tmp_path, "--latency", "0.1", limit=3, grace_s=0.2)
    yield server
    server.stop()


def test_a_killed_server_costs_no_attempt(engine: FakeEngine) -> None:
    kill = partial(engine.signal_after, 5, signal.SIGKILL)
    results = extract_supervised(engine, patient(), *make_requests(*neighbours(9, first=SLOW)), meanwhile=kill)
    assert [result.fault for result in results] == [None] * 9
    assert sorted(result.attempts for result in results)[-1] == 2
    assert len(engine.addresses) == 2


def test_only_the_request_that_crashes_its_server_fails(engine: FakeEngine) -> None:
    texts = [*neighbours(7, first=SLOW), POISON]
    *others, last = extract_supervised(engine, patient(max_deaths=2), *make_requests(*texts))
    assert (last.fault, last.attempts, last.replies) == (Fault.POISON, 3, ())  # with others once, alone twice
    assert last.message == "the server died 2 times while it worked on this alone"
    assert [result.fault for result in others] == [None] * 7
    assert len(engine.addresses) == 4


def test_a_request_in_flight_during_a_crash_is_sent_alone_and_succeeds(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, "--latency", "0.5", limit=3, grace_s=0.2)
    first, second, neighbour = extract_supervised(engine, patient(), *make_requests(POISON, f"{POISON} too", TEXT))
    assert (first.fault, second.fault, neighbour.fault) == (Fault.POISON, Fault.POISON, None)
    assert (neighbour.attempts, neighbour.in_flight) == (2, 1)
    assert len(engine.addresses) == 1 + 1 + 2 + 2


def test_suspects_are_sent_with_fewer_and_fewer_others(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, "--latency", "0.5", limit=16, grace_s=0.2)
    *others, last = extract_supervised(engine, patient(), *make_requests(*neighbours(15), POISON))
    assert (last.fault, last.attempts) == (Fault.POISON, 4)  # among 16, in a pair, alone twice
    assert [result.fault for result in others] == [None] * 15
    assert max(result.in_flight for result in others) <= 2
    assert {result.attempts for result in others} <= {2, 3}


def test_a_server_that_crashes_on_its_own_makes_no_request_poison(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path, "--crash-after", "0", limit=1, grace_s=0.2)
    (result,) = extract_supervised(engine, patient(attempts=2, max_deaths=100), make_request())
    assert (result.fault, result.attempts) == (Fault.UNAVAILABLE, MAX_FREE_CRASHES + 2)
    engine.stop()


def test_a_stopped_server_is_killed_and_restarted(engine: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    freeze = partial(engine.signal_after, 5, signal.SIGSTOP)
    results = extract_supervised(
        engine, patient(deadline_s=2, attempts=2), *make_requests(*neighbours(9, first=SLOW)), meanwhile=freeze
    )
    assert [result.fault for result in results] == [None] * 9
    assert len(engine.addresses) == 2
    assert "fake: stopped answering, starting it again" in capfd.readouterr().err


def test_a_hung_server_is_killed(engine: FakeEngine) -> None:
    texts = [*neighbours(5), f"{TEXT} [[fault:wedge]]"]
    *others, last = extract_supervised(engine, patient(deadline_s=1, attempts=3), *make_requests(*texts))
    assert last.fault is Fault.POISON
    assert [result.fault for result in others] == [None] * 5


def test_a_slow_document_among_fast_ones_restarts_no_server(engine: FakeEngine) -> None:
    texts = [f"{TEXT} [[fault:hang]]", *neighbours(20, "[[fault:delay=0.1]]")]
    slow, *others = extract_supervised(engine, patient(deadline_s=1, attempts=2), *make_requests(*texts))
    assert (slow.fault, slow.attempts) == (Fault.DEADLINE, 2)
    assert [result.fault for result in others] == [None] * 20
    assert len(engine.addresses) == 1


def test_a_slow_document_alone_restarts_no_server(engine: FakeEngine) -> None:
    (slow,) = extract_supervised(
        engine, patient(deadline_s=0.5, attempts=2), make_request(f"{TEXT} [[fault:hang]]")
    )
    assert (slow.fault, slow.attempts, len(engine.addresses)) == (Fault.DEADLINE, 2, 1)
    assert engine.requests == 2 + 2  # after each, a probe whether the server is hung


def test_an_endpoint_is_never_restarted(capfd: pytest.CaptureFixture[str]) -> None:
    with FakeServer("--order", '[{"fault": "wedge"}]') as fake:
        settings = make_settings(
            endpoint={"url": fake.url}, requests={"deadline_s": 0.3, "attempts": 2}, servers={"max_deaths": 1}
        )
        (result,) = extract_supervised(EndpointServer(settings), settings, make_request())
    assert (result.fault, result.attempts) == (Fault.DEADLINE, 2)
    assert "starting it again" not in capfd.readouterr().err


class Moved:
    """A server with another address at its second start."""

    name = "moved"

    def __init__(self, *addresses: ServerAddress) -> None:
        self.addresses = [*addresses]
        self.alive = False

    def start(self) -> ServerAddress:
        self.alive = len(self.addresses) == 1
        return self.addresses.pop(0)

    def stop(self) -> None:
        """Do nothing."""


def test_a_client_sends_to_the_new_address_of_a_server(fake: FakeServer) -> None:
    nobody = ServerAddress(f"{NOWHERE}/v1", "none", "house", 1)
    results = extract_supervised(Moved(nobody, address_of(fake)), patient(), *make_requests(*neighbours(5)))
    assert [result.fault for result in results] == [None] * 5
    assert max(result.attempts for result in results) == 2
    assert sum(result.attempts for result in results) == 6


@pytest.mark.parametrize("name", ["invalid", "loop", "truncated", "abort", "400", "500", "reset"])
def test_a_running_server_is_not_restarted_for_a_bad_reply(engine: FakeEngine, name: str) -> None:
    (result,) = extract_supervised(engine, patient(attempts=2), make_request(f"{TEXT} [[fault:{name}]]"))
    assert result.fault
    assert len(engine.addresses) == 1
