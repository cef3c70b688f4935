"""Settings, requests, clients and extractors of tests, without Ray: batches in, rows out, results in memory."""

import asyncio
from dataclasses import fields
from typing import Any

import pyarrow as pa

from actors.crash_suspects import SuspectStore
from actors.extractor import ActorRecords, Extractor
from actors.http import Dialect
from actors.results import Request, Result, ResultStore
from actors.retrying_client import Client
from actors.servers.supervisor import Server, ServerAddress, ServerReady
from extraction.config.settings import Settings
from extraction.prompting.response_schema import wire_schema
from extraction.schema.company import ShortProfile
from tests.fakes.process import FakeServer

NOWHERE = "http://127.0.0.1:1"  # nobody listens at this port
TEXT = "Acme Widgets Ltd was founded in Graz in 1987 and sells bolts."
SCHEMA = wire_schema(ShortProfile, bounded=True)
BASE: dict[str, dict[str, Any]] = {
    "model": {"name": "house"},
    "prompt": {"instructions": "Write the profile of the company."},
    "limits": {"max_output_tokens": 200, "context_length": 1000},
    "requests": {"deadline_s": 5, "attempts": 3, "backoff_s": 0.01, "backoff_max_s": 0.05},
    "ledger": {"flush_s": 0.02, "flush_rows": 8},
}


def make_settings(**sections: dict[str, Any]) -> Settings:
    """The settings of tests, with short waits, and with keys of some sections laid over them."""
    raw = {name: BASE.get(name, {}) | sections.get(name, {}) for name in {*BASE, *sections}}
    return Settings.model_validate({"profile": "extraction.schema.company:ShortProfile", **raw})


def make_request(text: str = TEXT, chunk_id: str = "c1", max_tokens: int = 200) -> Request:
    """A request of 100 prompt tokens."""
    return Request(chunk_id, text, 100, max_tokens)


def address_of(server: FakeServer, limit: int = 4) -> ServerAddress:
    """The address of the fake server."""
    return ServerAddress(server.url, server.api_key or "none", "house", limit)


def extract(
    address: ServerAddress, *requests: Request, settings: Settings | None = None, logprobs: bool = False
) -> list[Result]:
    """The results of requests that are sent together by a client of their own."""

    async def extract_all() -> list[Result]:
        client = Client(address, settings or make_settings(), SCHEMA, dialect=Dialect(logprobs=logprobs))
        try:
            return await asyncio.gather(*map(client.extract, requests))
        finally:
            await client.close()

    return asyncio.run(extract_all())


def extract_text(address: ServerAddress, text: str, settings: Settings | None = None) -> Result:
    """The result of one text."""
    return extract(address, make_request(text), settings=settings)[0]


class MemoryStore:
    """A result store in a list; `held` are from before the actor's restart."""

    def __init__(self, *held: Result, failures: int = 0) -> None:
        self.before = {result.chunk_id: result for result in held}
        self.failures = failures
        self.written: list[Result] = []

    def completed(self) -> dict[str, Result]:
        return self.before

    def append(self, results: list[Result]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.written += results


class MemoryRecords:
    """What is kept of an actor, in lists."""

    def __init__(self, results: ResultStore | None = None, suspects: SuspectStore | None = None) -> None:
        self.results, self.suspects = results or MemoryStore(), suspects
        self.ready, self.ended = list[ServerReady](), list[tuple[str, float, float]]()

    def server_ready(self, ready: ServerReady) -> None:
        self.ready.append(ready)

    def server_ended(self, server: str, started_at: float, ended_at: float) -> None:
        self.ended.append((server, started_at, ended_at))


def make_extractor(
    server: Server,
    store: ResultStore | None = None,
    settings: Settings | None = None,
    records: ActorRecords | None = None,
) -> Extractor:
    """An extractor that owns that server."""
    return Extractor(settings or make_settings(), SCHEMA, lambda: server, lambda: records or MemoryRecords(store))


def batch(*requests: Request) -> pa.Table:
    """A batch of chunks as Ray Data passes it, with a column that requests do not have."""
    table = pa.table({f.name: [getattr(request, f.name) for request in requests] for f in fields(Request)})
    return table.append_column("document_id", pa.array(["d"] * len(requests), pa.string()))


def text_batch(*texts: str) -> pa.Table:
    """A batch with a chunk of each text, their ids c0, c1, ..."""
    return batch(*(make_request(text, f"c{n}") for n, text in enumerate(texts)))


def run_batches(extractor: Extractor, *batches: pa.Table) -> list[pa.Table]:
    """The result rows of batches that are passed together."""

    async def run_all() -> list[pa.Table]:
        try:
            return await asyncio.gather(*map(extractor, batches))
        finally:
            await extractor._client.close()

    return asyncio.run(run_all())
