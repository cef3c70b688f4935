"""The record of a run and of its servers, written where `ls` shows it.

    <output>/work/runs/<run>/run.json                   by the driver, when the plan is made and again at the end
    <output>/work/runs/<run>/servers/<host>-<pid>.json  by each actor, whenever its server is ready

Nothing in them is a secret: URLs are stripped of credentials, and settings hold none.
"""

import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, ValidationError

from actors.servers.supervisor import ServerReady
from jobs.state.storage import Storage

RECORD_READERS = 16


UNSAFE = re.compile(r"[^\w.-]+")


AnyRecord = TypeVar("AnyRecord", bound="RecordBase")


class RecordBase(BaseModel):
    """Base of what is recorded; a newer version may add keys."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class RunRecord(RecordBase):
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
    revision: str | None = None
    answer_flags: dict[str, Any] = {}
    settings: dict[str, Any]
    seconds: dict[str, float] = {}

    def write(self, storage: Storage, seconds: Mapping[str, float]) -> None:
        """Put it in place, with the seconds of each stage so far."""
        record = self.model_copy(update={"seconds": dict(seconds)})
        storage.write(f"{folder_of(self.run_id)}/run.json", (record.model_dump_json(indent=2) + "\n").encode())


class ServerRecord(RecordBase):
    """A server as it was when it was last ready (see `actors.servers.supervisor.ServerReady`)."""

    server: str
    name: str
    limit: int
    starts: int
    start_s: float
    ready_at: float
    facts: dict[str, Any] = {}


def folder_of(run_id: str) -> str:
    """Where a run keeps its plan and its records."""
    return f"work/runs/{run_id}"


def servers_in(run_id: str) -> str:
    """The folder of the servers' records."""
    return f"{folder_of(run_id)}/servers"


def write_server(storage: Storage, run_id: str, ready: ServerReady) -> None:
    """Put a server's record in place. Called where the server is."""
    name = UNSAFE.sub("-", ready.server)
    storage.write(f"{servers_in(run_id)}/{name}.json", (json.dumps(asdict(ready), indent=2) + "\n").encode())


def read_run(storage: Storage, run_id: str) -> RunRecord | None:
    """The record of a run; None where it left none that can be read."""
    return _read(storage, f"{folder_of(run_id)}/run.json", RunRecord)


def read_servers(storage: Storage, run_id: str) -> list[ServerRecord]:
    """The records of a run's servers, in order of their names."""
    paths = storage.list(servers_in(run_id), ".json")
    with ThreadPoolExecutor(RECORD_READERS) as threads:
        found = threads.map(lambda path: _read(storage, path, ServerRecord), paths)
        return [record for record in found if record]


def _read(storage: Storage, path: str, kind: type[AnyRecord]) -> AnyRecord | None:
    data = storage.read(path)
    try:
        return kind.model_validate_json(data) if data else None
    except ValidationError:
        return None


SIGNED = ("http", "https")  # a query may hold a signature; elsewhere a question mark is a wildcard


def without_credentials(url: str) -> str:
    """A URL without user and password, and over HTTP without query and fragment; a path as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    if not parts.scheme or not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2]
    if parts.scheme in SIGNED:
        return urlunsplit((parts.scheme, host, parts.path, "", ""))
    return urlunsplit(parts._replace(netloc=host))
