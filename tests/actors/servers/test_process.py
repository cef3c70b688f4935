"""Server processes start, stop, and leave no process behind."""

import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import psutil
import pytest

from actors.servers.process import PORT_TRIES, TAIL_BYTES, ProcessOwner, ServerProcess, free_port
from extraction.errors import RunError
from tests.actors.processes import printed, python
from tests.fakes.process import eventually, gone

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[ServerProcess]]:
    """Processes that are stopped at the end of the test."""
    processes: list[ServerProcess] = []
    yield processes
    for process in processes:
        process.stop(0)


def start(process: ServerProcess, started: list[ServerProcess]) -> ServerProcess:
    started.append(process)
    process.start()
    return process


def test_it_runs_in_a_group_of_its_own_until_it_ends(tmp_path: Path, started: list[ServerProcess]) -> None:
    process = start(python("import time; print('up', flush=True); time.sleep(60)", tmp_path / "log"), started)
    printed(process)
    assert process.alive and process.exit_status is None
    assert process.pid and os.getpgid(process.pid) == process.pid != os.getpgrp()
    process.stop()
    assert repr((process.pid, process.alive)) == "(None, False)"


def test_a_stubborn_process_is_killed_after_the_grace(tmp_path: Path, started: list[ServerProcess]) -> None:
    process = start(python(STUBBORN, tmp_path / "log"), started)
    printed(process)
    family = [p.pid for p in psutil.Process(process.pid).children()]
    began = time.monotonic()
    process.stop(grace_s=0.4)
    assert 0.4 <= time.monotonic() - began < 5
    assert len(family) == 1 and eventually(lambda: gone(family[0]))


def test_stop_ends_children_that_outlive_their_parent(tmp_path: Path, started: list[ServerProcess]) -> None:
    code = "import os, time; pid = os.fork(); os.write(1, b'%d\\n' % os.getpid()); time.sleep(0 if pid else 60)"
    process = start(python(code, tmp_path / "log"), started)
    family = [int(line) for line in printed(process, 2)]
    assert eventually(lambda: not process.alive) and not all(map(gone, family))
    process.stop()
    assert eventually(lambda: all(map(gone, family)))


def test_it_can_be_started_again_and_the_log_goes_on(tmp_path: Path, started: list[ServerProcess]) -> None:
    process = python("print('up', flush=True)", tmp_path / "folder" / "log")
    for _ in range(2):
        start(process, started)
        assert eventually(lambda: not process.alive)
        process.stop()
    assert process.tail() == "up\nup"


def test_the_log_is_its_owners_alone(tmp_path: Path, started: list[ServerProcess]) -> None:
    old = os.umask(0)
    try:
        process = start(python("pass", tmp_path / "log"), started)
    finally:
        os.umask(old)
    assert stat.S_IMODE(process.log.stat().st_mode) == 0o600


def test_the_tail_of_a_long_log_is_short(tmp_path: Path) -> None:
    process = python("pass", tmp_path / "log")
    process.log.write_bytes(b"\xff\xfe" * TAIL_BYTES + b"".join(b"\nline %d" % n for n in range(100)))
    assert process.tail(3).splitlines() == ["line 97", "line 98", "line 99"]
    assert len(process.tail(1000).encode("utf-8", "replace")) < 4 * TAIL_BYTES


def test_it_inherits_no_socket_and_no_input(tmp_path: Path, started: list[ServerProcess]) -> None:
    code = "import os, sys; print(sorted(os.listdir('/proc/self/fd'))[:4], repr(sys.stdin.read()), flush=True)"
    with socket.create_server(("127.0.0.1", 0)):
        process = start(python(code, tmp_path / "log"), started)
        assert printed(process) == ["['0', '1', '2', '3'] ''"]  # 3 is the folder that is listed


def test_a_free_port_can_be_bound() -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        assert port != free_port()


@pytest.mark.parametrize(
    ("said", "times", "tries"),
    [("[Errno 98] bind on ('127.0.0.1', 1): Address already in use", 2, 3), ("no memory", 9, 1),
     ("couldn't bind HTTP server socket", 9, PORT_TRIES)],
)  # fmt: skip
def test_a_port_that_was_taken_is_another_port(said: str, times: int, tries: int) -> None:
    tried = list[int]()

    def start(port: int) -> int:
        tried.append(port)
        if len(tried) <= times:
            raise RunError(f"Its log ends:\n{said}")
        return port

    with pytest.raises(RunError) if times > tries else nullcontext():
        assert ProcessOwner().start_at_free_port(start) == tried[-1]
    assert len(tried) == tries


def test_a_stranger_that_listens_at_its_port_is_detected(tmp_path: Path, started: list[ServerProcess]) -> None:
    listen = "import socket, time; server = socket.create_server(('127.0.0.1', 0))"
    code = f"{listen}; print(server.getsockname()[1], flush=True); time.sleep(60)"
    process = start(python(code, tmp_path / "log"), started)
    (port,) = map(int, printed(process))
    owner = ProcessOwner()
    owner._process = process
    owner.require_port(port)
    taken = pytest.raises(RunError, match="address already in use by another process")
    with socket.create_server(("127.0.0.1", 0)) as stranger, taken:
        owner.require_port(stranger.getsockname()[1])
