"""The record of a run and of its servers, written where `ls` shows it.

    <output>/work/runs/<run>/run.json                   by the driver, when the plan is made and again at the end
    <output>/work/runs/<run>/servers/<host>-<pid>.json  by each actor, whenever its server is ready
    <output>/work/runs/<run>/servers/<host>-<pid>.ended by each actor, when its server has ended, ready or not: JSON

Nothing in them is a secret: URLs are stripped of credentials, and settings hold none.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import Field

from actors.servers.supervisor import ServerReady
from jobs.state.storage import Storage, StoredRecord

UNSAFE = re.compile(r"[^\w.-]+")


class RunRecord(StoredRecord):
    """The input, engine and settings of a run. `seconds` are those of each stage, as far as the run came; `limit`
    and `gpus` are those of one server."""

    run_id: str
    began_at: str
    inputs: tuple[str, ...]
    first_documents: int | None = None
    engine: str
    model: str
    limit: int
    gpus: int
    revision: str | None = None
    answer_flags: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any]
    seconds: dict[str, float] = Field(default_factory=dict)
    server_hours: float | None = None

    def write(self, storage: Storage, seconds: Mapping[str, float], server_hours: float | None = None) -> None:
        """Put it in place, with the seconds of each stage so far, and the hours of servers once they are known."""
        record = self.model_copy(update={"seconds": dict(seconds), "server_hours": server_hours})
        storage.write_record(f"{folder_of(self.run_id)}/run.json", record)


class ServerRecord(StoredRecord):
    """A server as it was when it was last ready (see `actors.servers.supervisor.ServerReady`)."""

    server: str
    name: str
    limit: int
    starts: int
    start_s: float
    ready_at: float
    facts: dict[str, Any] = Field(default_factory=dict)
    started_at: float | None = None
    actor: str = ""


class ServerEnd(StoredRecord):
    """When a server's first process was started, and when its last one ended (seconds since 1970)."""

    server: str
    started_at: float
    ended_at: float


def folder_of(run_id: str) -> str:
    """Where a run keeps its plan and its records."""
    return f"work/runs/{run_id}"


def servers_in(run_id: str) -> str:
    """The folder of the servers' records."""
    return f"{folder_of(run_id)}/servers"


def write_server(storage: Storage, run_id: str, ready: ServerReady, actor: str = "") -> None:
    """Put a server's record in place. Called where the server is."""
    record = ServerRecord(**asdict(ready), actor=actor)
    storage.write_record(f"{servers_in(run_id)}/{UNSAFE.sub('-', ready.server)}.json", record)


def write_end(storage: Storage, run_id: str, server: str, started_at: float, ended_at: float) -> None:
    """Write down that a server has ended. Called where it was."""
    ended = ServerEnd(server=server, started_at=started_at, ended_at=ended_at)
    storage.write_record(f"{servers_in(run_id)}/{UNSAFE.sub('-', server)}.ended", ended)


def read_run(storage: Storage, run_id: str) -> RunRecord | None:
    """The record of a run; None where it left none that can be read."""
    return storage.read_record(f"{folder_of(run_id)}/run.json", RunRecord)


def read_servers(storage: Storage, run_id: str) -> list[ServerRecord]:
    """The records of a run's servers, in order of their names."""
    return storage.read_records(storage.list(servers_in(run_id), ".json"), ServerRecord)


def read_server(storage: Storage, run_id: str, server: str) -> ServerRecord | None:
    """The record of one server; None where it left none that can be read."""
    return storage.read_record(f"{servers_in(run_id)}/{UNSAFE.sub('-', server)}.json", ServerRecord)


def server_spans(storage: Storage, run_id: str) -> dict[str, tuple[float, float | None]]:
    """From when to when each server of a run held its GPUs, by its name; None where no end is known. One that was
    killed with its actor held them at most until the actor was there again."""
    ready = sorted(read_servers(storage, run_id), key=lambda server: (server.actor, server.started_at or 0))
    spans: dict[str, tuple[float, float | None]] = {}
    for server, following in zip_longest(ready, ready[1:]):
        again = following.started_at if following and server.actor and following.actor == server.actor else None
        if server.started_at:
            spans[server.server] = server.started_at, again
    ended = storage.read_records(storage.list(servers_in(run_id), ".ended"), ServerEnd)
    return spans | {end.server: (end.started_at, end.ended_at) for end in ended}


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
