"""One run at a time, as far as can be seen; none waits for a dead one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobs.state.lease import LEASE, Holder, LeaseHeld, lease
from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.process import FakeServer
from tests.jobs.helpers import job, row, write

BEAT_S = 0.2
HOLD = """
import sys, time
from jobs.state.lease import lease
from jobs.state.storage import Storage
with lease(Storage(sys.argv[1]), "theirs", 0.2):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path))


def holder(storage: Storage) -> Holder | None:
    data = storage.read(LEASE)
    return Holder.model_validate_json(data) if data else None


def other(storage: Storage) -> "subprocess.Popen[bytes]":
    """A process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, storage.url], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline() == b"held\n"
    return process


def elsewhere(beat: int = 0) -> bytes:
    """A lease of another host."""
    there = Holder(run_id="theirs", host="another.example", pid=os.getpid(), started=0, beat=beat)
    return there.model_dump_json().encode()


def test_it_is_there_while_it_is_held_and_beats(storage: Storage) -> None:
    with lease(storage, "mine", BEAT_S):
        first = holder(storage)
        assert first and first.run_id == "mine"
        deadline = time.monotonic() + 30
        while holder(storage) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert holder(storage) is None


def test_a_second_run_leaves_and_says_who_is_there(storage: Storage) -> None:
    process = other(storage)
    try:
        with (
            pytest.raises(LeaseHeld, match=rf"run theirs \(process {process.pid} on "),
            lease(storage, "mine", BEAT_S),
        ):
            raise AssertionError("there are two")
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()


def test_a_dead_holder_of_this_host_is_not_waited_for(storage: Storage) -> None:
    process = other(storage)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout and process.stdout.close()
    began = time.monotonic()
    with lease(storage, "mine", beat_s=1000):
        held = holder(storage)
        assert held and held.run_id == "mine"
    assert time.monotonic() - began < 500


def test_another_hosts_holder_is_gone_when_its_beat_stands_still(storage: Storage) -> None:
    storage.write(LEASE, elsewhere())
    with lease(storage, "mine", BEAT_S):
        held = holder(storage)
        assert held and held.run_id == "mine"


def test_another_hosts_holder_that_beats_is_there(storage: Storage) -> None:
    storage.write(LEASE, elsewhere())
    threading.Timer(BEAT_S, storage.write, (LEASE, elsewhere(beat=1))).start()
    with pytest.raises(LeaseHeld, match=r"on another\.example"), lease(storage, "mine", BEAT_S):
        raise AssertionError("there are two")


def test_who_waits_is_told_once_by_whom_it_is_held_up_and_starts_after_its_end(storage: Storage) -> None:
    process, told = other(storage), list[str]()
    threading.Timer(8 * BEAT_S, process.kill).start()
    with lease(storage, "mine", BEAT_S, wait=told.append):
        assert process.wait(30) == -signal.SIGKILL
        held = holder(storage)
        assert held and held.run_id == "mine"
    assert len(told) == 1 and f"`kill {process.pid}` on " in told[0]
    process.stdout and process.stdout.close()


def test_the_message_names_the_ray_job_that_holds_it(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {"metadata": {"job_submission_id": "extract-x7k2p"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(metadata))
    with lease(storage, "theirs", BEAT_S):
        monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
        message = r"`ray job stop extract-x7k2p`, and run .* again"
        with pytest.raises(LeaseHeld, match=message), lease(storage, "mine", BEAT_S):
            raise AssertionError("there are two")


def test_who_was_taken_for_dead_leaves_the_new_holder_alone(storage: Storage) -> None:
    with lease(storage, "mine", BEAT_S):
        storage.write(LEASE, elsewhere(beat=7))
        time.sleep(3 * BEAT_S)
    assert storage.read(LEASE) == elsewhere(beat=7)


@pytest.mark.parametrize("data", [b"", b"{", b'{"run_id": 1}', b"\xff"])
def test_what_is_no_lease_is_taken_for_none(storage: Storage, data: bytes) -> None:
    storage.write(LEASE, data)
    with lease(storage, "mine", BEAT_S):
        held = holder(storage)
        assert held and held.run_id == "mine"


def test_a_second_job_on_an_output_asks_nothing(
    tmp_path: Path, cluster: None, capfd: pytest.CaptureFixture[str]
) -> None:
    source, output = write(tmp_path / "in.parquet", [row(n) for n in range(3)]), tmp_path / "out"
    (output / "work").mkdir(parents=True)
    process = other(Storage(str(output)))
    try:
        with FakeServer() as server:
            assert job(source, output, server.url) == 1
            assert server.stats()["requests"] == 0
            assert job(source, output, server.url, "--plan") == 0
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()
    assert f"run theirs (process {process.pid}" in capfd.readouterr().err


class Flickering(Storage):
    """A storage whose reads fail now and then."""

    def read(self, path: str) -> bytes | None:
        if threading.current_thread().name == "lease":
            raise OSError(5, "the store failed")
        return super().read(path)


def test_a_read_that_fails_does_not_end_the_beat(tmp_path: Path) -> None:
    with lease(Flickering(str(tmp_path)), "mine", BEAT_S):
        deadline = time.monotonic() + 30
        while not ((held := holder(Storage(str(tmp_path)))) and held.beat > 2):
            assert time.monotonic() < deadline
            time.sleep(0.05)
