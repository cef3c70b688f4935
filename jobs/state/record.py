"""The record of a run: what it was told and what its servers were, written where `ls` shows it.

<output>/work/runs/<run>/run.json               by the driver, when the plan is made and again at the end
<output>/work/runs/<run>/servers/<host>-<pid>.json   by each actor, whenever its server is ready

Nothing in them is a secret: of URLs only what is no credential, of settings all (secrets are none of them).
"""

import datetime
import json
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.servers.server import Ready
from extraction.config.credentials import without_credentials
from jobs.state.run import Run
from jobs.state.storage import Storage

THREADS = 16
UNSAFE = re.compile(r"[^\w.-]+")
Kind = TypeVar("Kind", bound="Record")


class Record(BaseModel):
    """Base of what is recorded; a newer version may add keys."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class RunRecord(Record):
    """What a run was told. `seconds` are those of each stage, as far as the run came; `limit` and `gpus` are
    those of one server."""

    run_id: str
    began_at: str
    inputs: tuple[str, ...]
    first_documents: int | None = None
    engine: str
    model: str
    limit: int
    gpus: int
    precision: dict[str, str] = {}
    settings: dict[str, Any]
    seconds: dict[str, float] = {}

    @classmethod
    def of(cls, run: Run, inputs: Sequence[str], first_documents: int | None) -> Self:
        """The record of a run that begins."""
        settings = run.settings.model_dump(mode="json")
        if settings["endpoint"]["url"]:
            settings["endpoint"]["url"] = without_credentials(settings["endpoint"]["url"])
        return cls(
            run_id=run.run_id,
            began_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            inputs=tuple(map(without_credentials, inputs)),
            first_documents=first_documents,
            engine=run.fleet.engine,
            model=run.fleet.model,
            limit=run.fleet.limit,
            gpus=run.fleet.gpus,
            precision=dict(run.fleet.precision),
            settings=settings,
        )

    def write(self, run: Run, stages: "Stages") -> None:
        """Put it in place, with the seconds so far."""
        told = self.model_copy(update={"seconds": dict(stages.seconds)})
        run.storage.write(f"{run.folder}/run.json", (told.model_dump_json(indent=2) + "\n").encode())


class ServerRecord(Record):
    """A server as it was when it was last ready (see `actors.servers.server.Ready`)."""

    server: str
    name: str
    limit: int
    starts: int
    start_s: float
    ready_at: float
    facts: dict[str, Any] = {}


class Stages:
    """The seconds that each stage took, one after the other."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._reached = time.monotonic()

    def end(self, stage: str) -> None:
        """A stage is over."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._reached, 3)
        self._reached = now

    @property
    def total(self) -> float:
        """Seconds from the beginning to now."""
        return sum(self.seconds.values()) + time.monotonic() - self._reached


def servers_in(run_id: str) -> str:
    """The folder of the servers' records."""
    return f"work/runs/{run_id}/servers"


def write_server(storage: Storage, run_id: str, ready: Ready) -> None:
    """Put a server's record in place. Called where the server is."""
    name = UNSAFE.sub("-", ready.server)
    storage.write(f"{servers_in(run_id)}/{name}.json", (json.dumps(asdict(ready), indent=2) + "\n").encode())


def read_run(storage: Storage, run_id: str) -> RunRecord | None:
    """The record of a run; None where it left none that can be read."""
    return _read(storage, f"work/runs/{run_id}/run.json", RunRecord)


def read_servers(storage: Storage, run_id: str) -> list[ServerRecord]:
    """The records of a run's servers, in order of their names."""
    paths = storage.list(servers_in(run_id), ".json")
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(lambda path: _read(storage, path, ServerRecord), paths)
        return [record for record in found if record]


def _read(storage: Storage, path: str, kind: type[Kind]) -> Kind | None:
    data = storage.read(path)
    try:
        return kind.model_validate_json(data) if data else None
    except ValidationError:
        return None
