"""One run at a time, as far as can be seen; none waits for a dead one."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.state import lease as module
from jobs.state.lease import LEASE, Holder, LeaseHeld, lease
from jobs.state.storage import Storage
from tests.conftest import ROOT
from tests.fakes.process import FakeServer, eventually
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


@contextmanager
def other(storage: Storage) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that holds the lease."""
    with subprocess.Popen([sys.executable, "-c", HOLD, storage.url], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder of whom a beat comes in the end is one, however busy the machine is."""
    monkeypatch.setattr(module, "BEATS_MISSED", 1000)


def elsewhere(beat: int = 0) -> bytes:
    """A lease of another host."""
    there = Holder(run_id="theirs", host="another.example", pid=os.getpid(), beat=beat)
    return there.model_dump_json().encode()


def test_it_is_there_while_it_is_held_and_beats(storage: Storage) -> None:
    with lease(storage, "mine", BEAT_S):
        first = holder(storage)
        assert first and first.run_id == "mine"
        assert eventually(lambda: holder(storage) != first, 30)
    assert holder(storage) is None


def refused(storage: Storage, words: str) -> None:
    """A second run does not come to hold it, and says why."""
    with pytest.raises(LeaseHeld, match=words), lease(storage, "mine", BEAT_S):
        raise AssertionError("there are two")


def test_a_second_run_leaves_and_says_who_is_there(storage: Storage, patient: None) -> None:
    with other(storage) as process:
        refused(storage, rf"run theirs \(process {process.pid} on ")


def test_a_dead_holder_of_this_host_is_not_waited_for(storage: Storage) -> None:
    with other(storage):
        pass
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


@dataclass(frozen=True)
class Beating(Storage):
    """A storage that another host's lease is in, with a beat before each of some reads; then it stands still."""

    beats: list[int]

    def read(self, path: str) -> bytes | None:
        if self.beats:
            self.write(LEASE, elsewhere(self.beats.pop()))
        return super().read(path)


def test_another_hosts_holder_that_beats_is_there(storage: Storage) -> None:
    refused(Beating(storage.url, [1, 0]), r"on another\.example")


def test_who_waits_is_told_once_by_whom_it_is_held_up_and_starts_after_its_end(storage: Storage) -> None:
    beating, told = Beating(storage.url, list(range(6))), list[str]()
    with lease(beating, "mine", BEAT_S, wait=told.append):
        assert not beating.beats
        held = holder(storage)
        assert held and held.run_id == "mine"
    assert len(told) == 1 and f"`kill {os.getpid()}` on another.example" in told[0]


def test_the_message_names_the_ray_job_that_holds_it(
    storage: Storage, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = {"metadata": {"job_submission_id": "extract-x7k2p"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(metadata))
    with lease(storage, "theirs", BEAT_S):
        monkeypatch.delenv("RAY_JOB_CONFIG_JSON_ENV_VAR")
        refused(storage, r"`ray job stop extract-x7k2p`, and run .* again")


def test_who_was_taken_for_dead_leaves_the_new_holder_alone(storage: Storage) -> None:
    with lease(storage, "mine", BEAT_S):
        (beating,) = (thread for thread in threading.enumerate() if thread.name == "lease")
        storage.write(LEASE, elsewhere(beat=7))
        beating.join(30)
        assert not beating.is_alive()
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
    with other(Storage(str(output))) as process, FakeServer() as server:
        assert job(source, output, server.url) == 1
        assert server.stats()["requests"] == 0
        assert job(source, output, server.url, "--plan") == 0
    assert f"run theirs (process {process.pid}" in capfd.readouterr().err


class Flickering(Storage):
    """A storage whose reads fail now and then."""

    def read(self, path: str) -> bytes | None:
        if threading.current_thread().name == "lease":
            raise OSError(5, "the store failed")
        return super().read(path)


def test_a_read_that_fails_does_not_end_the_beat(tmp_path: Path) -> None:
    with lease(Flickering(str(tmp_path)), "mine", BEAT_S):
        assert eventually(lambda: bool((held := holder(Storage(str(tmp_path)))) and held.beat > 2), 30)
