"""A supervisor starts, restarts and gives up a server; a server that fails to start leaves no process."""

import asyncio
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import pytest

from actors.results import Result
from actors.servers.process import ServerProcess
from actors.servers.supervisor import (
    LOG_MARK,
    PROCESS_NAME,
    Server,
    ServerAddress,
    ServerSupervisor,
    wait_until_healthy,
)
from extraction.config.settings import Servers
from extraction.errors import OperatorError, RunError
from tests.actors.clients import (
    NOWHERE,
    TEXT,
    MemoryRecords,
    make_extractor,
    make_settings,
    run_batches,
    text_batch,
)
from tests.actors.processes import FakeEngine, fake_process, printed, python
from tests.fakes.ports import port_of, reserve
from tests.fakes.process import ROOT, gone

LENIENT = Servers(max_deaths=100)


class StubServer:
    """A server without a process: a start takes `start_s`, and the test sets `alive`."""

    name = "stub"

    def __init__(self, failure: Exception | None = None, start_s: float = 0.05) -> None:
        self.failure, self.start_s = failure, start_s
        self.alive, self.starts, self.stops = False, 0, 0
        self.threads: set[int] = set()

    def start(self) -> ServerAddress:
        time.sleep(self.start_s)
        self.threads.add(threading.get_ident())
        self.starts += 1
        if self.failure and self.starts > 1:
            raise self.failure
        self.alive = True
        return ServerAddress(f"http://127.0.0.1:{self.starts}/v1", "k", "house", 1)

    def stop(self) -> None:
        self.alive = False
        self.stops += 1


@contextmanager
def supervised(server: StubServer, settings: Servers = LENIENT) -> Iterator[ServerSupervisor]:
    supervisor = ServerSupervisor(server, settings)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


async def restart_all(supervisor: ServerSupervisor, callers: int) -> list[ServerAddress]:
    """Many callers find the server dead at once; the addresses that the client is given, before any caller goes
    on."""
    addresses: list[ServerAddress] = []

    async def reconnect(address: ServerAddress) -> None:
        await asyncio.sleep(0.01)
        addresses.append(address)

    async def restart() -> int:
        await supervisor.restart(reconnect)
        return len(addresses)

    known = await asyncio.gather(*(restart() for _ in range(callers)))
    assert known == [len(addresses)] * callers
    return addresses


async def no_reconnect(address: ServerAddress) -> None:
    """Do nothing."""


def returning(hung: bool) -> Callable[[], Awaitable[bool]]:
    async def is_hung() -> bool:
        return hung

    return is_hung


def test_a_dead_server_is_restarted_once_for_all_callers() -> None:
    server = StubServer()
    with supervised(server) as supervisor:
        server.alive = False
        (address,) = asyncio.run(restart_all(supervisor, 50))
        assert address.url == "http://127.0.0.1:2/v1"
        assert asyncio.run(restart_all(supervisor, 10)) == []
    assert (server.starts, server.stops, server.alive) == (2, 1, False)


@pytest.mark.parametrize(("alive", "hung", "starts"), [(True, False, 1), (True, True, 2), (False, False, 2)])
def test_a_running_server_is_restarted_only_if_it_is_hung(alive: bool, hung: bool, starts: int) -> None:
    server = StubServer()
    with supervised(server) as supervisor:
        server.alive = alive
        asyncio.run(supervisor.restart(no_reconnect, is_hung=returning(hung)))
        assert (server.starts, server.stops) == (starts, int(alive and hung))


def test_a_start_does_not_block_the_event_loop() -> None:
    polled = threading.Event()

    class Waiting(StubServer):
        def start(self) -> ServerAddress:
            assert not self.starts or polled.wait(10)
            return super().start()

    async def poll() -> None:
        task = asyncio.create_task(restart_all(supervisor, 1))
        for _ in range(6):
            await asyncio.sleep(0.01)
        polled.set()
        await task

    server = Waiting()
    with supervised(server) as supervisor:
        server.alive = False
        asyncio.run(poll())
    assert server.starts == 2


def test_each_crash_is_followed_by_a_start_in_the_same_thread() -> None:
    server = StubServer(start_s=0)

    async def crash_and_restart() -> None:
        for _ in range(5):
            server.alive = False
            await restart_all(supervisor, 3)

    with supervised(server) as supervisor:
        asyncio.run(crash_and_restart())
    assert server.starts == 6
    assert len(server.threads) == 1 and threading.get_ident() not in server.threads


def test_a_server_that_still_runs_after_stop_is_left_alone() -> None:
    class Foreign(StubServer):
        def stop(self) -> None:
            self.stops += 1

    server = Foreign()
    with supervised(server, Servers(max_deaths=1)) as supervisor:
        asyncio.run(supervisor.restart(no_reconnect, is_hung=returning(True)))
        assert (server.starts, server.stops) == (1, 1)


@pytest.mark.parametrize(("exit_delay_s", "starts"), [(0, 1), (10, 2)])
def test_a_server_may_take_a_moment_to_exit(exit_delay_s: float, starts: int) -> None:
    server = StubServer()

    async def exit_late() -> None:
        task = asyncio.create_task(supervisor.restart(no_reconnect, exit_delay_s=exit_delay_s))
        await asyncio.sleep(0.05)
        server.alive = False
        await task

    with supervised(server) as supervisor:
        asyncio.run(exit_late())
    assert server.starts == starts


def test_a_mistake_of_the_operator_is_raised_at_a_later_start_too() -> None:
    server = StubServer(OperatorError("the model is gone"))
    with supervised(server) as supervisor:
        server.alive = False
        with pytest.raises(OperatorError, match="the model is gone"):
            asyncio.run(restart_all(supervisor, 1))


def test_crashes_far_apart_are_not_too_many() -> None:
    server = StubServer(start_s=0)
    settings = Servers(max_deaths=2, deaths_within_s=0.05)

    async def crash_sometimes() -> None:
        for _ in range(4):
            server.alive = False
            await restart_all(supervisor, 1)
            await asyncio.sleep(0.1)

    with supervised(server, settings) as supervisor:
        asyncio.run(crash_sometimes())
    assert server.starts == 5


def test_starts_take_no_time_in_which_crashes_are_far_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that breaks every server is given up, however long each of them takes to load."""
    server, given_up = StubServer(start_s=0.1), []

    async def give_up(reason: str) -> NoReturn:
        given_up.append(reason)
        raise RunError(reason)

    async def crash() -> None:
        for _ in range(3):
            server.alive = False
            await restart_all(supervisor, 1)

    with supervised(server, Servers(max_deaths=3, deaths_within_s=0.15)) as supervisor:
        monkeypatch.setattr(supervisor, "exit_process", give_up)
        supervisor.ready(ServerAddress("http://127.0.0.1:1/v1", "k", "house", 1))
        with pytest.raises(RunError, match="died 3 times in 0 s"):
            asyncio.run(crash())
    assert len(given_up) == 1


def test_crashes_that_are_not_counted_are_not_too_many() -> None:
    server = StubServer(start_s=0)

    async def crash_often() -> None:
        for _ in range(4):
            server.alive = False
            await supervisor.restart(no_reconnect, counted=False)

    with supervised(server, Servers(max_deaths=2)) as supervisor:
        asyncio.run(crash_often())
    assert server.starts == 5


def crash_repeatedly(failure: Exception | None, crashes: int) -> None:
    """Run in a process of its own: the server crashes again and again."""

    class PrintingServer(StubServer):
        def stop(self) -> None:
            print("stopped", flush=True)

    server = PrintingServer(failure, start_s=0)
    supervisor = ServerSupervisor(server, Servers(max_deaths=3))
    supervisor.start()

    async def on_shutdown() -> None:
        print("on_shutdown", flush=True)
        raise OSError("no space left")  # which must not keep the process alive

    supervisor.on_shutdown = on_shutdown

    async def crash() -> None:
        for number in range(1, crashes + 1):
            server.alive = False
            print("crash", number, flush=True)
            await restart_all(supervisor, 2)
            print("alive", flush=True)

    try:
        asyncio.run(crash())
    except BaseException:
        print("raised", flush=True)
        raise


class FileStore:
    """Keeps the ids of results in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def completed(self) -> dict[str, Result]:
        return {}

    def append(self, results: list[Result]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{result.chunk_id}\n" for result in results)


def crash_with_unwritten_results(folder: Path) -> None:
    """Run in a process of its own: the server crashes while two results wait to be written."""
    settings = make_settings(ledger={"flush_s": 600, "flush_rows": 100}, servers={"max_deaths": 1})
    extractor = make_extractor(FakeEngine(folder, limit=1), FileStore(folder / "written.txt"), settings)
    run_batches(extractor, text_batch(TEXT, f"{TEXT} too", f"{TEXT} [[fault:crash]]", f"{TEXT} late"))


def test_results_are_written_before_the_process_ends(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.actors.servers import test_supervisor as t; "
        "t.crash_with_unwritten_results(Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"{LOG_MARK}fake: died 1 times in 0 s, giving up")
    assert (tmp_path / "written.txt").read_text() == "c0\nc1\n"


@pytest.mark.parametrize(
    ("failure", "seen", "message"),
    [
        (
            "None",
            ["crash 1", "alive", "crash 2", "alive", "crash 3", "on_shutdown", "stopped"],
            r"stub: died 3 times in \d+ s, giving up",
        ),
        ("RunError('no memory')", ["crash 1", "on_shutdown", "stopped"], "stub: no memory"),
    ],
)
def test_the_process_ends_with_status_1_when_restarts_fail(failure: str, seen: list[str], message: str) -> None:
    imports = (
        "from extraction.errors import RunError; from tests.actors.servers.test_supervisor import crash_repeatedly"
    )
    code = f"{imports}; crash_repeatedly({failure}, 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (1, seen)
    assert re.fullmatch(LOG_MARK + message, done.stderr.splitlines()[-1])


SLEEPER = "import time; print('loading', flush=True); time.sleep(60)"
GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def stranger(reply: bytes) -> Iterator[int]:
    """A port on which another process answers every connection with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(listener.getsockname()[1])
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def running(process: ServerProcess) -> Iterator[ServerProcess]:
    process.start()
    try:
        yield process
    finally:
        process.stop(0)


def health(port: int) -> str:
    return f"http://127.0.0.1:{port}/health"


def test_a_slow_start_is_waited_for(tmp_path: Path) -> None:
    with reserve() as kept, running(fake_process(tmp_path, kept, "--start-delay", "0.5")) as process:
        waited = wait_until_healthy(process, health(port_of(kept)), timeout_s=30)
        assert waited >= 0.4
        assert process.alive


def test_a_failed_start_is_raised_with_the_log(tmp_path: Path) -> None:
    with reserve() as kept, running(fake_process(tmp_path, kept, "--fail-start", "CUDA out of memory")) as process:
        with pytest.raises(RunError, match=r"(?s)ended with status 1 before it was ready.*CUDA out of memory"):
            wait_until_healthy(process, health(port_of(kept)), timeout_s=30)
        assert process.pid is None


def test_a_killed_server_is_raised_with_its_signal(tmp_path: Path) -> None:
    killed = running(python("import os; os.kill(os.getpid(), 9)", tmp_path / "log"))
    with killed as process, pytest.raises(RunError, match="ended with status -9"):
        wait_until_healthy(process, f"{NOWHERE}/health", timeout_s=30)


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    with reserve() as kept, running(fake_process(tmp_path, kept, "--never-ready")) as process:
        pid, began = process.pid, time.monotonic()
        with pytest.raises(RunError, match=r"not ready after servers.start_timeout_s = 0.8 s"):
            wait_until_healthy(process, health(port_of(kept)), timeout_s=0.8)
        assert time.monotonic() - began < 5
        assert pid and gone(pid)


def test_a_stranger_on_the_port_is_not_healthy(tmp_path: Path) -> None:
    with stranger(GARBAGE) as port, running(python(SLEEPER, tmp_path / "log")) as process:
        printed(process)
        with pytest.raises(RunError, match=r"(?s)not ready.*loading"):
            wait_until_healthy(process, health(port), timeout_s=0.1)
        assert not process.alive


def test_no_proxy_is_asked_for_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, NOWHERE)
    with stranger(FINE) as port, running(python(SLEEPER, tmp_path / "log")) as process:
        assert wait_until_healthy(process, health(port), timeout_s=5) < 5


def test_an_address_shows_no_key() -> None:
    address = ServerAddress("http://127.0.0.1:1/v1", "a-secret", "house", 4)
    assert "a-secret" not in f"{address} {address!r}"
    assert "house" in repr(address)


def test_the_fake_is_a_server(tmp_path: Path) -> None:
    server: Server = FakeEngine(tmp_path)
    try:
        first = server.start()
        assert server.alive
        second = server.start()
        assert (first.url, first.api_key) != (second.url, second.api_key)
    finally:
        server.stop()
    assert not server.alive


@pytest.mark.parametrize("failure", [None, RunError("no memory")])
def test_the_end_of_a_server_is_told_once_with_its_first_start(failure: RunError | None) -> None:
    server, records = StubServer(failure), MemoryRecords()
    began = time.time()
    supervisor = ServerSupervisor(server, LENIENT, records)
    server.starts = 1 if failure else 0
    with pytest.raises(RunError, match="no memory") if failure else nullcontext():
        supervisor.ready(supervisor.start())
    supervisor.stop()
    supervisor.stop()
    ((name, started, ended),) = records.ended
    assert (name, len(records.ready)) == (PROCESS_NAME, 0 if failure else 1)
    assert began <= started <= ended - server.start_s / 2
    assert ended <= time.time()
    ServerSupervisor(server, LENIENT, records).stop()  # was never started
    assert len(records.ended) == 1
