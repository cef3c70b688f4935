"""The lease: who writes to an output says so there, and a second run leaves.

It is advisory. Two runs at a time do no harm, they may only pay twice; so a lease is never waited for longer than
it takes to see that its holder is gone.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from extraction.errors import RunError
from jobs.state.storage import Storage

LEASE = "work/lease.json"
BEAT_S = 10.0
BEATS_MISSED = 4  # after so many its holder counts as gone
CLOCK_S = 5.0  # by which a process's start seems to move when the clock is set


class Taken(RunError):
    """Another run writes to the output."""


class Holder(BaseModel):
    """Who holds a lease. `started` tells its process from a later one with the same id; `beat` counts up."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    host: str
    pid: int
    started: float
    beat: int = 0

    @property
    def gone(self) -> bool:
        """Whether it is known to be dead: a process of this host that is no more."""
        if self.host != socket.gethostname():
            return False
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) > CLOCK_S
        except psutil.NoSuchProcess:
            return True


@contextlib.contextmanager
def lease(storage: Storage, run_id: str, beat_s: float = BEAT_S) -> Iterator[None]:
    """Hold an output's lease. Raises Taken while another run does.

    Whether that one lives is judged by its beats over time measured here, never by comparing clocks.
    """
    me = psutil.Process()
    ours = Holder(run_id=run_id, host=socket.gethostname(), pid=me.pid, started=me.create_time())
    held = _read(storage)
    if held and not held.gone and _beats(storage, held, beat_s):
        raise Taken(
            f"run {held.run_id} (process {held.pid} on {held.host}) writes to {storage.url}: wait for its end, or "
            f"stop it. Nothing was asked"
        )
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
    with contextlib.suppress(OSError):  # what it is good for is not worth a run
        storage.write(LEASE, holder.model_dump_json().encode())


def _read(storage: Storage) -> Holder | None:
    """The lease's holder; None where there is none, or what is there is none."""
    try:
        data = storage.read(LEASE)
        return Holder.model_validate_json(data) if data else None
    except (OSError, ValidationError):
        return None
