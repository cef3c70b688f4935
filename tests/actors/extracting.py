"""An extractor without Ray: batches in, rows out, and a journal in memory."""

import asyncio
from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from actors.extractor import Extractor
from actors.retrying_client import Request, Result
from actors.servers.supervisor import Server
from extraction.config.settings import Settings
from tests.actors.asking import SCHEMA, question, settings


class MemoryJournal:
    """Keeps answers in a list; knows some from an earlier life."""

    def __init__(self, *held: Result, failures: int = 0) -> None:
        self.before = {answer.chunk_id: answer for answer in held}
        self.failures = failures
        self.written: list[Result] = []

    def held(self) -> dict[str, Result]:
        return self.before

    def append(self, answers: list[Result]) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("no space left")
        self.written += answers


def extractor(server: Server, journal: MemoryJournal | None = None, asked: Settings | None = None) -> Extractor:
    """An extractor that owns that server."""
    kept = journal or MemoryJournal()
    return Extractor(asked or settings(), SCHEMA, lambda: server, lambda: kept)


def batch(*questions: Request, **columns: list[Any]) -> pa.Table:
    """A batch of chunks as Ray Data hands it over, with columns that are not asked for."""
    table = pa.table({f.name: [getattr(q, f.name) for q in questions] for f in fields(Request)})
    return table.append_column("document_id", pa.array(["d"] * len(questions), pa.string()))


def texts(*some: str) -> pa.Table:
    """A batch with a chunk of each text, their ids c0, c1, ..."""
    return batch(*(question(text, f"c{n}") for n, text in enumerate(some)))


def answer_all(actor: Extractor, *batches: pa.Table) -> list[pa.Table]:
    """What becomes of batches that are handed over together."""

    async def call() -> list[pa.Table]:
        try:
            return await asyncio.gather(*map(actor, batches))
        finally:
            await actor._client.close()

    return asyncio.run(call())


def asked_texts(journal: Path) -> int:
    """How many requests a fake server's journal holds."""
    return sum('"event": "request"' in line for line in journal.read_text().splitlines())
