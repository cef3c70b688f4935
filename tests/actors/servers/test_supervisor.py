"""Waiting for a server: it becomes ready, or what is wrong with it is said and nothing is left."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.extractor import Extractor
from actors.retrying_client import Result
from actors.servers.process import ServerProcess, free_port
from actors.servers.supervisor import Keeper, Server, ServerAddress, wait_until_healthy
from extraction.config.settings import Servers
from extraction.errors import OperatorError, RunError
from tests.actors.asking import SCHEMA, TEXT, settings
from tests.actors.extracting import answer_all, texts
from tests.actors.mortal import Mortal, kept, revive_all, stay, verdict
from tests.actors.processes import OwnedFake, fake_process, gone, printed, python
from tests.fakes.process import ROOT


def test_a_dead_server_is_started_again_once_for_all_who_ask() -> None:
    server = Mortal()
    with kept(server) as keeper:
        server.alive = False
        turned = asyncio.run(revive_all(keeper, 50))
    assert (server.starts, len(turned)) == (2, 1)
    assert turned[0].url == "http://127.0.0.1:2/v1"


def test_who_asks_meanwhile_waits_until_the_client_has_turned() -> None:
    server = Mortal(start_s=0.1)
    order: list[str] = []

    async def turn_to(_: ServerAddress) -> None:
        await asyncio.sleep(0.05)
        order.append("turned")

    async def ask() -> None:
        await keeper.revive(turn_to)
        order.append("returned")

    async def ask_thrice() -> None:
        await asyncio.gather(ask(), ask(), ask())

    with kept(server) as keeper:
        server.alive = False
        asyncio.run(ask_thrice())
    assert order == ["turned", "returned", "returned", "returned"]


def test_the_loop_goes_on_while_a_server_starts() -> None:
    server = Mortal(start_s=0.3)

    async def tick() -> int:
        revival = asyncio.create_task(revive_all(keeper, 1))
        ticks = 0
        while not revival.done():
            await asyncio.sleep(0.01)
            ticks += 1
        return ticks

    with kept(server) as keeper:
        server.alive = False
        assert asyncio.run(tick()) > 5


def test_a_server_that_lives_is_left_alone() -> None:
    server = Mortal()
    with kept(server) as keeper:
        assert asyncio.run(revive_all(keeper, 10)) == []
    assert server.starts == 1


def test_each_death_is_followed_by_a_start_in_the_same_thread() -> None:
    server = Mortal(start_s=0)

    async def die_and_live() -> None:
        for _ in range(5):
            server.alive = False
            await revive_all(keeper, 3)

    with kept(server) as keeper:
        asyncio.run(die_and_live())
    assert server.starts == 6
    assert len(server.threads) == 1 and threading.get_ident() not in server.threads


@pytest.mark.parametrize(("hung", "starts", "stops"), [(False, 1, 0), (True, 2, 1)])
def test_a_server_that_lives_is_killed_and_started_again_if_it_is_hung(hung: bool, starts: int, stops: int) -> None:
    server = Mortal()
    with kept(server) as keeper:
        asyncio.run(keeper.revive(stay, hung=verdict(hung)))
        assert (server.starts, server.stops) == (starts, stops)


def test_a_dead_server_is_not_asked_whether_it_is_hung() -> None:
    server = Mortal()
    with kept(server) as keeper:
        server.alive = False
        asyncio.run(keeper.revive(stay, hung=verdict(False)))
    assert server.starts == 2


def test_what_lives_on_when_it_is_stopped_is_somebody_elses() -> None:
    class Foreign(Mortal):
        def stop(self) -> None:
            self.stops += 1

    server = Foreign()
    with kept(server, Servers(max_deaths=1)) as keeper:
        asyncio.run(keeper.revive(stay, hung=verdict(True)))
        assert (server.starts, server.stops) == (1, 1)


@pytest.mark.parametrize(("patience_s", "starts"), [(0, 1), (10, 2)])
def test_a_death_may_take_a_moment_to_be_seen(patience_s: float, starts: int) -> None:
    server = Mortal()

    async def die_late() -> None:
        revival = asyncio.create_task(keeper.revive(stay, patience_s=patience_s))
        await asyncio.sleep(0.05)
        server.alive = False
        await revival

    with kept(server) as keeper:
        asyncio.run(die_late())
    assert server.starts == starts


def test_a_failed_first_start_is_raised() -> None:
    server = Mortal(RunError("no memory"))
    server.starts = 1
    with pytest.raises(RunError, match="no memory"), kept(server):
        pass


def test_a_mistake_of_the_operator_is_raised_at_a_later_start_too() -> None:
    server = Mortal(OperatorError("the model is gone"))
    with kept(server) as keeper:
        server.alive = False
        with pytest.raises(OperatorError, match="the model is gone"):
            asyncio.run(revive_all(keeper, 1))


def test_stop_ends_the_server() -> None:
    server = Mortal()
    with kept(server):
        assert server.alive
    assert (server.alive, server.stops) == (False, 1)


def test_deaths_far_apart_are_forgiven() -> None:
    server = Mortal(start_s=0)
    asked = Servers(max_deaths=2, deaths_within_s=0.05)

    async def die_now_and_then() -> None:
        for _ in range(4):
            server.alive = False
            await revive_all(keeper, 1)
            await asyncio.sleep(0.1)

    with kept(server, asked) as keeper:
        asyncio.run(die_now_and_then())
    assert server.starts == 5


def test_deaths_that_do_not_count_are_forgiven() -> None:
    server = Mortal(start_s=0)

    async def die_often() -> None:
        for _ in range(4):
            server.alive = False
            await keeper.revive(stay, counted=False)

    with kept(server, Servers(max_deaths=2)) as keeper:
        asyncio.run(die_often())
    assert server.starts == 5


def die(failure: Exception | None, deaths: int) -> None:
    """Run in a process of its own: the server dies again and again."""

    class Loud(Mortal):
        def stop(self) -> None:
            print("stopped", flush=True)

    server = Loud(failure, start_s=0)
    keeper = Keeper(server, Servers(max_deaths=3))
    keeper.start()

    async def farewell() -> None:
        print("farewell", flush=True)
        raise OSError("no space left")  # which saves nobody

    keeper.farewell = farewell

    async def live() -> None:
        for number in range(1, deaths + 1):
            server.alive = False
            print("death", number, flush=True)
            await revive_all(keeper, 2)
            print("alive", flush=True)

    try:
        asyncio.run(live())
    except BaseException:
        print("raised", flush=True)
        raise


class FileJournal:
    """Keeps the ids of answers in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def held(self) -> dict[str, Result]:
        return {}

    def append(self, answers: list[Result]) -> None:
        with self.path.open("a") as file:
            file.writelines(f"{answer.chunk_id}\n" for answer in answers)


def lose_the_server(folder: Path) -> None:
    """Run in a process of its own: the server dies while two answers wait to be written down."""
    asked = settings(ledger={"flush_s": 600, "flush_rows": 100}, servers={"max_deaths": 1})
    actor = Extractor(
        asked, SCHEMA, lambda: OwnedFake(folder, limit=1), lambda: FileJournal(folder / "written.txt")
    )
    answer_all(actor, texts(TEXT, f"{TEXT} too", f"{TEXT} [[fault:crash]]", f"{TEXT} late"))


def test_what_was_answered_is_written_down_before_the_process_ends(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.actors.servers.test_supervisor import lose_the_server; "
    )
    command = [sys.executable, "-c", f"{code} lose_the_server(Path(sys.argv[1]))", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, "fake: died 1 times in 0 s, giving up")
    assert (tmp_path / "written.txt").read_text() == "c0\nc1\n"


@pytest.mark.parametrize(
    ("failure", "seen", "said"),
    [
        (
            "None",
            ["death 1", "alive", "death 2", "alive", "death 3", "farewell", "stopped"],
            "mortal: died 3 times in 0 s, giving up",
        ),
        ("RunError('no memory')", ["death 1", "farewell", "stopped"], "mortal: no memory"),
    ],
)
def test_the_process_ends_with_status_1_when_there_is_no_hope(failure: str, seen: list[str], said: str) -> None:
    imports = "from extraction.errors import RunError; from tests.actors.servers.test_supervisor import die"
    code = f"{imports}; die({failure}, 9)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()) == (1, seen)
    assert done.stderr.splitlines()[-1] == said


SLEEPER = "import time; print('loading', flush=True); time.sleep(60)"
GARBAGE = b"\x16\x03\x01\x00 this is not HTTP\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@contextmanager
def stranger(answer: bytes) -> Iterator[int]:
    """A port on which somebody else answers every connection with the same bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(answer)

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


def test_a_late_server_is_waited_for(tmp_path: Path) -> None:
    port = free_port()
    with running(fake_process(tmp_path, port, "--start-delay", "0.5")) as process:
        waited = wait_until_healthy(process, health(port), timeout_s=30)
        assert waited >= 0.4
        assert process.alive


def test_a_server_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    port = free_port()
    with running(fake_process(tmp_path, port, "--fail-start", "CUDA out of memory")) as process:
        with pytest.raises(RunError, match=r"(?s)ended with status 1 before it was ready.*CUDA out of memory"):
            wait_until_healthy(process, health(port), timeout_s=30)
        assert process.pid is None


def test_a_killed_server_is_told_by_its_signal(tmp_path: Path) -> None:
    killed = running(python("import os; os.kill(os.getpid(), 9)", tmp_path / "log"))
    with killed as process, pytest.raises(RunError, match="ended with status -9"):
        wait_until_healthy(process, health(free_port()), timeout_s=30)


def test_a_server_that_is_never_ready_is_stopped(tmp_path: Path) -> None:
    port = free_port()
    with running(fake_process(tmp_path, port, "--never-ready")) as process:
        pid, began = process.pid, time.monotonic()
        with pytest.raises(RunError, match=r"not ready after servers.start_timeout_s = 0.8 s"):
            wait_until_healthy(process, health(port), timeout_s=0.8)
        assert time.monotonic() - began < 5
        assert pid and gone(pid)


@pytest.mark.parametrize("answer", [GARBAGE, b"", b"HTTP/1.1 500 No\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n"])
def test_a_stranger_on_the_port_is_not_healthy(tmp_path: Path, answer: bytes) -> None:
    with stranger(answer) as port, running(python(SLEEPER, tmp_path / "log")) as process:
        printed(process)
        with pytest.raises(RunError, match=r"(?s)not ready.*loading"):
            wait_until_healthy(process, health(port), timeout_s=0.1)
        assert not process.alive


def test_a_silent_stranger_does_not_hold_up_the_news_of_a_death(tmp_path: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        running(python("import time; time.sleep(0.3)", tmp_path / "log")) as process,
    ):
        began = time.monotonic()
        with pytest.raises(RunError, match="ended with status 0"):
            wait_until_healthy(process, health(silent.getsockname()[1]), timeout_s=1)
        assert time.monotonic() - began < 4


def test_no_proxy_is_asked_for_health(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with stranger(FINE) as port, running(python(SLEEPER, tmp_path / "log")) as process:
        assert wait_until_healthy(process, health(port), timeout_s=5) < 5


def test_an_address_shows_no_key() -> None:
    address = ServerAddress("http://127.0.0.1:1/v1", "a-secret", "house", 4)
    assert "a-secret" not in f"{address} {address!r}"
    assert "house" in repr(address)


def test_the_fake_is_a_server(tmp_path: Path) -> None:
    server: Server = OwnedFake(tmp_path)
    try:
        first = server.start()
        assert server.alive
        second = server.start()
        assert (first.url, first.api_key) != (second.url, second.api_key)
    finally:
        server.stop()
    assert not server.alive
