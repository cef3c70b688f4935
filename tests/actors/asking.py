"""What it takes to ask in tests: settings with short waits, questions, and a client for one of them."""

import asyncio
from typing import Any

from actors.retrying_client import Client, Request, Result
from actors.servers.supervisor import ServerAddress
from extraction.config.settings import Settings
from extraction.prompting.response_schema import wire_schema
from extraction.schema.company import ShortProfile
from tests.fakes.process import FakeServer

TEXT = "Acme Widgets Ltd was founded in Graz in 1987 and sells bolts."
SCHEMA = wire_schema(ShortProfile, bounded=True)
BASE: dict[str, dict[str, Any]] = {
    "model": {"name": "house"},
    "prompt": {"instructions": "Write the profile of the company."},
    "limits": {"max_output_tokens": 200, "context_length": 1000},
    "requests": {"deadline_s": 5, "attempts": 3, "backoff_s": 0.01, "backoff_max_s": 0.05},
    "ledger": {"flush_s": 0.02, "flush_rows": 8},
}


def settings(**sections: dict[str, Any]) -> Settings:
    """The settings of tests, with keys of some sections laid over them."""
    raw = {name: BASE.get(name, {}) | sections.get(name, {}) for name in {*BASE, *sections}}
    return Settings.model_validate({"profile": "extraction.schema.company:ShortProfile", **raw})


def question(text: str = TEXT, chunk_id: str = "c1", max_tokens: int = 200) -> Request:
    """A question of 100 prompt tokens."""
    return Request(chunk_id, text, 100, max_tokens)


def address(server: FakeServer, limit: int = 4) -> ServerAddress:
    """Where the fake server is asked."""
    return ServerAddress(server.url, server.api_key or "none", "house", limit)


def ask(
    where: ServerAddress, *questions: Request, asked: Settings | None = None, logprobs: bool = False
) -> list[Result]:
    """Ask everything at once with a client of its own."""

    async def all_of_them() -> list[Result]:
        client = Client(where, asked or settings(), SCHEMA, logprobs=logprobs)
        try:
            return await asyncio.gather(*map(client.ask, questions))
        finally:
            await client.close()

    return asyncio.run(all_of_them())


def ask_one(where: ServerAddress, text: str, asked: Settings | None = None) -> Result:
    """The answer to one text."""
    return ask(where, question(text), asked=asked)[0]
