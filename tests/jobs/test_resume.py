"""Killed at any time and run again: complete, nothing twice, and nothing asked that the ledger held."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil

from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.process import FakeServer
from tests.jobs.helpers import arguments, census, manifest, row, write

DOCUMENTS = 60
IN_FLIGHT = 4


def held(output: Path) -> set[str]:
    """Chunk ids that have an answer in the ledger on disk."""
    storage, found = Storage(str(output)), set[str]()
    for folder in (output / "work" / "ledger").glob("*"):
        for path in storage.list(f"work/ledger/{folder.name}", ".parquet"):
            found |= set(storage.read_table(path, ["chunk_id"])["chunk_id"].to_pylist())
    return found


def test_sigkill_midway_then_the_same_command(tmp_path: Path) -> None:
    rows = [row(n, company=n // 2) for n in range(DOCUMENTS)]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    with FakeServer("--latency", "0.4", "--max-running-requests", str(IN_FLIGHT)) as server:
        argv = arguments(source, output, server.url, "--set", f"endpoint.concurrency={IN_FLIGHT}")
        command = [sys.executable, str(ROOT / "jobs" / "extract.py"), *argv]
        first = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        wait_for(lambda: len(held(output)) >= 12, first)
        family = psutil.Process(first.pid).children(recursive=True)
        for process in [psutil.Process(first.pid), *family]:
            if process.is_running():
                process.send_signal(signal.SIGKILL)
        first.wait()
        before, asked = held(output), asked_of(server)
        assert 12 <= len(before) < DOCUMENTS
        assert not (output / "manifest.json").exists()
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert again.returncode == 0, again.stderr
        census(output, {r["document_id"] for r in rows})
        counts = manifest(output)["counts"]
        assert counts["chunks_from_ledger"] == len(before)
        assert counts["chunks_answered"] == DOCUMENTS
        repeated = sum(count - 1 for sha, count in asked_of(server).items() if sha in asked)
        # Asked twice, beside the canary: what was in flight at the kill, or answered and not yet written down.
        assert repeated - 1 <= sum(asked.values()) - 1 - len(before) <= 2 * IN_FLIGHT


def asked_of(server: FakeServer) -> Counter[str]:
    """How often each message reached the server."""
    return Counter(entry["sha"] for entry in server.journal() if entry["event"] == "request")


def wait_for(condition: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    """Wait until a condition holds while a process runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if condition():
            return
        assert process.poll() is None, "the job ended early"
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    raise AssertionError("waited too long")
