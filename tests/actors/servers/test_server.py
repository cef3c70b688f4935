"""Waiting for a server: it becomes ready, or what is wrong with it is said and nothing is left."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from actors.servers.process import ServerProcess, free_port
from actors.servers.supervisor import Address, Server, wait_until_healthy
from extraction.errors import RunError
from tests.actors.processes import OwnedFake, fake_process, gone, printed, python

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
    address = Address("http://127.0.0.1:1/v1", "a-secret", "house", 4)
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
