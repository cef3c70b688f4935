"""A command under the watchdog ends as it would without it, and never outlives its starter."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.servers import watchdog
from tests.actors.processes import printed, python
from tests.fakes.process import ROOT, eventually, gone

CHILD = "subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'])"
FAMILY = f"import os, subprocess, sys, time; c = {CHILD}; print(os.getpid(), c.pid, flush=True); time.sleep(60)"
OWNER = """
import sys, time
from pathlib import Path
from actors.servers.process import ServerProcess
process = ServerProcess([sys.executable, "-S", "-c", sys.argv[1]], log=Path(sys.argv[2]))
process.start()
print(process.pid, flush=True)
time.sleep(60)
"""


def run(*command: str, parent: int | None = None, secrets: str = "") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, watchdog.__file__, str(parent or os.getpid()), *command]
    return subprocess.run(argv, input=secrets, capture_output=True, text=True, timeout=20, start_new_session=True)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns a server, which has a child without any tie to it."""
    command = [sys.executable, "-c", OWNER, FAMILY, str(tmp_path / "log")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_the_exit_status_is_the_commands(code: str, status: int) -> None:
    quiet = "import os, resource, signal, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
    assert run(sys.executable, "-S", "-c", quiet + code).returncode == status


def test_arguments_pass_unchanged() -> None:
    odd = ["", "a b", "$HOME", "--", "*", "é\n"]
    done = run(sys.executable, "-S", "-c", "import sys; print(sys.argv[1:])", *odd)
    assert (done.stdout.strip(), done.stderr) == (str(odd), "")


def test_a_missing_command_is_reported_in_one_line() -> None:
    done = run("/nowhere/server", "--flag")
    assert done.returncode == 1
    assert done.stderr == "/nowhere/server can't be run: No such file or directory\n"


def test_nothing_is_run_for_a_parent_that_is_gone_already() -> None:
    done = run("echo", "ran", parent=os.getppid())
    assert done.returncode == 1
    assert (done.stdout, "gone already" in done.stderr) == ("", True)


def test_nothing_of_a_server_survives_the_process_that_started_it(
    owner: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert owner.stdout
    pid = int(owner.stdout.readline())
    assert eventually(lambda: (tmp_path / "log").read_text().endswith("\n"))
    family = [pid, *map(int, (tmp_path / "log").read_text().split())]
    assert len(set(family)) == 3 and not any(map(gone, family))
    owner.kill()
    assert eventually(lambda: all(map(gone, family)))


def test_a_server_dies_with_its_watchdog(tmp_path: Path) -> None:
    process = python("import os, time; print(os.getpid(), flush=True); time.sleep(60)", tmp_path / "log")
    process.start()
    try:
        served = int(printed(process)[0])
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: gone(served))
    finally:
        process.stop()


def test_a_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    process = python("import time; print('up', flush=True); time.sleep(60)", tmp_path / "log")
    starter = threading.Thread(target=process.start)
    starter.start()
    starter.join()
    try:
        assert printed(process) == ["up"]
        assert not eventually(lambda: not process.alive, timeout_s=2 * watchdog.PARENT_POLL_S)
    finally:
        process.stop()


def test_a_secret_that_the_command_prints_is_not_passed_on() -> None:
    code = "import sys; print('key=s3cret,', 'admin=other'); print('s3cret', file=sys.stderr); sys.exit(4)"
    done = run(sys.executable, "-S", "-c", code, secrets="s3cret\nother")
    assert sorted(done.stdout.splitlines()) == ["[key]", "key=[key], admin=[key]"]
    assert done.returncode == 4


def test_what_was_printed_before_a_kill_is_there(tmp_path: Path) -> None:
    process = python("import time; print('s3cret', 'up', flush=True); time.sleep(60)", tmp_path / "log")
    process.secrets = ("s3cret",)
    process.start()
    try:
        printed(process)
        assert process.pid
        os.kill(process.pid, signal.SIGKILL)
        assert eventually(lambda: not process.alive)
        assert process.tail() == "[key] up"
    finally:
        process.stop()


def test_a_full_disk_does_not_stop_the_command() -> None:
    process = python("print('x' * 100 + chr(10) * 300_000)", Path("/dev/full"))
    process.start()
    try:
        assert eventually(lambda: not process.alive)
        assert process.exit_status == 0
    finally:
        process.stop()
