"""The lease: who writes to an output says so there, and a second run leaves.

It is advisory. Two runs at a time do no harm, they may only pay twice; so a lease is never waited for longer than
it takes to see that its holder is gone.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psutil

from extraction.errors import RunError
from jobs.state.storage import Storage, StoredRecord, suppress_outage

LEASE = "work/lease.json"
BEAT_S = 10.0
BEATS_MISSED = 4  # after so many its holder counts as gone


class LeaseHeld(RunError):
    """Another run writes to the output."""


class Holder(StoredRecord):
    """Who holds a lease. `job` is the Ray job that its process is the driver of, `beat` counts up."""

    run_id: str
    host: str
    pid: int
    job: str | None = None
    beat: int = 0

    @property
    def process(self) -> str:
        """Which process it is, in words."""
        return f"process {self.pid} on {self.host}" + (f", Ray job {self.job}" if self.job else "")

    @property
    def remedy(self) -> str:
        """The command that ends it."""
        return f"`ray job stop {self.job}`" if self.job else f"`kill {self.pid}` on {self.host}"

    @property
    def gone(self) -> bool:
        """Whether it is known to be dead: a process of this host that is no more."""
        if self.host != socket.gethostname():
            return False
        return not psutil.pid_exists(self.pid)


@contextlib.contextmanager
def lease(
    storage: Storage, run_id: str, beat_s: float = BEAT_S, wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold an output's lease. Raises LeaseHeld while another run does; with `wait`, tells it of that run, once, and
    waits for its end.

    Whether that one lives is judged by its beats over time measured here, never by comparing clocks.
    """
    ours = Holder(run_id=run_id, host=socket.gethostname(), pid=os.getpid(), job=submission_id())
    announced = None
    while (held := _read(storage)) and not held.gone and _beats(storage, held, beat_s):
        who = f"run {held.run_id} ({held.process}) writes to {storage.url}"
        if not wait:
            raise LeaseHeld(
                f"{who}: wait for its end, or stop it with {held.remedy}, and run the same command again "
                "(extract.py can --wait for it). Nothing was asked"
            )
        if announced != held.run_id:
            wait(f"{who}: waiting for its end; {held.remedy} ends it")
        announced = held.run_id
    _write(storage, ours)
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(storage, ours, beat_s, done), daemon=True, name="lease")
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        if _is_of(storage, ours):
            storage.delete([LEASE])


def submission_id() -> str | None:
    """The id of the Ray job that this process belongs to; None where it is none's."""
    config = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    job_id = config.get("metadata", {}).get("job_submission_id")
    return str(job_id) if job_id else None


def _beats(storage: Storage, held: Holder, beat_s: float) -> bool:
    """Whether a holder's beat moves while one would expect some of it."""
    end = time.monotonic() + BEATS_MISSED * beat_s
    while time.monotonic() < end:
        time.sleep(beat_s / 2)
        now = _read(storage)
        if now is None:
            return False
        if now != held:
            return True
    return False


def _beat(storage: Storage, ours: Holder, beat_s: float, done: threading.Event) -> None:
    """Say so again and again, until it is done or another run holds the lease."""
    while not done.wait(beat_s):
        held = _read(storage)
        if held and held.run_id != ours.run_id:
            return
        ours = ours.model_copy(update={"beat": ours.beat + 1})
        _write(storage, ours)


def _is_of(storage: Storage, ours: Holder) -> bool:
    held = _read(storage)
    return held is not None and held.run_id == ours.run_id


def _write(storage: Storage, holder: Holder) -> None:
    with suppress_outage():  # what it is good for is not worth a run
        storage.write_record(LEASE, holder)


def _read(storage: Storage) -> Holder | None:
    """The lease's holder; None where there is none, or what is there is none."""
    with suppress_outage():
        return storage.read_record(LEASE, Holder)
    return None
