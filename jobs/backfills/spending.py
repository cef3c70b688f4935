"""Spending: what each tick of a backfill has spent, kept so that a kill loses seconds of the count at most.

<output>/work/backfill/<run>.json
"""

import time
from concurrent.futures import ThreadPoolExecutor

from pydantic import BaseModel, ConfigDict, ValidationError

from jobs.backfills.budget import Spent
from jobs.state.storage import Storage

FOLDER = "work/backfill"
SAVE_EVERY_S = 5.0
READERS = 16


class Tick(BaseModel):
    """One tick: when it was last heard of, what it has spent, and why it ended, if it did."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    run_id: str
    at: str
    spent: Spent
    ended: str | None = None


class Spending:
    """The account of one tick; nothing is written while nothing is spent."""

    def __init__(self, storage: Storage, run_id: str) -> None:
        self._storage, self._run_id = storage, run_id
        self._saved, self._saved_at = Spent(), time.monotonic()

    def save(self, spent: Spent, ended: str | None = None) -> None:
        """Write what is spent so far, now and then; at the end always."""
        late = time.monotonic() - self._saved_at >= SAVE_EVERY_S
        if spent == Spent() or not (ended or (late and spent != self._saved)):
            return
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        tick = Tick(run_id=self._run_id, at=at, spent=spent, ended=ended)
        self._storage.write(f"{FOLDER}/{self._run_id}.json", (tick.model_dump_json(indent=2) + "\n").encode())
        self._saved, self._saved_at = spent, time.monotonic()


def spent_before(storage: Storage) -> Spent:
    """What all ticks so far have spent."""
    paths = storage.list(FOLDER, ".json")
    with ThreadPoolExecutor(READERS) as threads:
        return sum(threads.map(lambda path: _spent(storage.read(path)), paths), Spent())


def _spent(data: bytes | None) -> Spent:
    try:
        return Tick.model_validate_json(data).spent if data else Spent()
    except ValidationError:
        return Spent()
