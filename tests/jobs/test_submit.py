"""`ray job submit` against a Ray that `ray start --head` started."""

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.fakes.process import FakeServer, free_port
from tests.jobs.helpers import arguments, census, row, write

BIN = ROOT / ".venv" / "bin"
# Ray 2.60 asks for a token as soon as a head is started; its clients have to be told so.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
ENVIRONMENT = {**os.environ, **TOKEN, "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Ray head of our own, on ports of its own; its dashboard's address."""
    dashboard, folder = free_port(), tmp_path_factory.mktemp("ray")
    temporary = f"/tmp/ray-{os.getpid()}-{dashboard}"  # short: a socket's path may have 107 characters
    ports = {
        "--port": free_port(),
        "--dashboard-port": dashboard,
        "--dashboard-agent-listen-port": free_port(),
        "--ray-client-server-port": free_port(),
        "--metrics-export-port": free_port(),
        "--num-cpus": 3,
        "--object-store-memory": 200 << 20,
        "--temp-dir": temporary,
    }
    command = [str(BIN / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"{flag}={value}" for flag, value in ports.items()]
    with (folder / "head.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)
    address = f"http://127.0.0.1:{dashboard}"
    try:
        yield _answering(address, process)
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        process.wait(30)
        shutil.rmtree(temporary, ignore_errors=True)


def _answering(address: str, process: "subprocess.Popen[bytes]") -> str:
    deadline = time.monotonic() + 90
    ask = [str(BIN / "ray"), "job", "list", "--address", address]
    while subprocess.run(ask, capture_output=True, env=ENVIRONMENT, check=False).returncode:
        assert process.poll() is None, "the head ended"
        assert time.monotonic() < deadline, "the head does not answer"
        time.sleep(1)
    return address


def test_a_submitted_job_publishes(head: str, tmp_path: Path) -> None:
    rows = [row(n, company=n // 2) for n in range(6)]
    source = write(tmp_path / "in.parquet", rows)
    with FakeServer() as server:
        submit = [str(BIN / "ray"), "job", "submit", "--address", head, "--working-dir", ".", "--"]
        job = ["python", "jobs/extract.py", *arguments(source, tmp_path / "out", server.url)]
        done = subprocess.run(
            [*submit, *job], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 of 6 chunks" in done.stdout
    census(tmp_path / "out", {r["document_id"] for r in rows})
