"""Questions to a server before any document is sent: is it there, is it ours, does it keep to a schema."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from actors.attempt import Attempt
from actors.completion import Completion
from actors.connection import Connection, Unreachable
from actors.extractor import CANARY, CANARY_TOKENS
from actors.servers.server import Address
from extraction.config.settings import Settings
from extraction.errors import Fault, ProfilesError
from extraction.prompting.parsing import ReplyFault, parse
from jobs.stages.checks import Check

MOST_S = 120  # for one answer
WORD = "heron-4127"  # that nobody says unless a grammar makes it
WORD_TOKENS = 40
WORD_SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "enum": [WORD]}},
    "required": ["word"],
    "additionalProperties": False,
}
GRAMMAR = (
    "is its grammar backend xgrammar or llguidance (--grammar-backend), and sampling.temperature 0? A simpler "
    "schema may help; --log-level debug shows what its grammar says"
)
REMEDIES = {
    Fault.TRUNCATED: "--set limits.max_output_tokens=...; start it with --constrained-json-disable-any-whitespace",
    Fault.REPETITION: "--set sampling.frequency_penalty=0.2, or --grammar-backend llguidance, which bounds strings",
    Fault.INVALID: GRAMMAR,
    Fault.REJECTED: "does it take response_format json_schema? SGLang from 0.5 and vLLM do; its log says why",
    Fault.TOO_LONG: "its context is too small: --context-length there, limits.max_chunk_tokens here",
    Fault.DEADLINE: "it is overloaded or hangs: fewer requests at a time there, or start it again",
    Fault.UNAVAILABLE: "is it up, and is this its URL? Its log says why it does not answer",
}
WHITE_SPACE = re.compile(r"[{\[,:]\s*\n|[{\[,:] {2,}")
Step = Callable[[], Awaitable[list[Check]]]


def check_server(address: Address, settings: Settings, schema: dict[str, Any]) -> list[Check]:
    """Ask it what it serves, for an answer that only a grammar makes, and for a profile, twice."""
    return asyncio.run(_check(address, settings, schema))


async def _check(address: Address, settings: Settings, schema: dict[str, Any]) -> list[Check]:
    deadline_s = min(MOST_S, settings.requests.deadline_s)
    profile, word = (Connection(address, asked, deadline_s) for asked in (schema, WORD_SCHEMA))
    steps: dict[str, Step] = {
        "endpoint": partial(_models, profile, settings),
        "structured output": partial(_word, word),
        "test request": partial(_profile, profile, settings),
    }
    found: list[Check] = []
    try:
        for name, step in steps.items():
            wrong = any(check.state == "wrong" for check in found)
            found += [Check(name, "skipped", "not asked")] if wrong else await _judged(name, step)
    finally:
        await profile.close()
        await word.close()
    return found


async def _judged(name: str, step: Step) -> list[Check]:
    try:
        return await step()
    except (ReplyFault, Unreachable) as failure:
        return [Check(name, "wrong", str(failure), REMEDIES.get(failure.fault, ""))]
    except ProfilesError as error:
        return [Check(name, "wrong", str(error))]


async def _models(connection: Connection, settings: Settings) -> list[Check]:
    address, limits = connection.address, settings.limits
    cards = {str(card.get("id")): card for card in await connection.models()}
    names = ", ".join(cards) or "nothing"
    found = [Check("endpoint", "ok", f"{address.url}/models answers: {names}")]
    if address.model not in cards:
        said = f"{address.model!r} is asked for, and it serves {names}"
        return [*found, Check("model name", "wrong", said, "--model (or VLLM_MODEL) as it stands there")]
    found.append(Check("model name", "ok", address.model))
    context = cards[address.model].get("max_model_len")
    needed = limits.max_chunk_tokens + limits.max_output_tokens
    if isinstance(context, int) and context < needed:
        said = f"it takes {context:,} tokens, a chunk and its answer may have {needed:,}"
        found.append(Check("context", "wrong", said, "--context-length there, or lower limits.max_chunk_tokens"))
    return found


async def _word(connection: Connection) -> list[Check]:
    """An answer that no model gives unless the schema is kept to."""
    attempt = Attempt(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=WORD_TOKENS, seed=0)
    body = await connection.send([{"role": "user", "content": "Say hello."}], attempt)
    text = Completion.of(body).text
    try:
        kept = json.loads(text) == {"word": WORD}
    except ValueError:
        kept = False
    if not kept:
        said = f'the schema leaves it {{"word": "{WORD}"}} to say, and it says {text[:60]!r}'
        return [Check("structured output", "wrong", said, GRAMMAR)]
    return [Check("structured output", "ok", "the schema is kept to")]


async def _profile(connection: Connection, settings: Settings) -> list[Check]:
    """The test request of each actor, twice."""
    first, seconds = await _ask(connection, settings)
    second, _ = await _ask(connection, settings)
    model = settings.profile_model()
    parse(first.text, first.finish_reason, model)
    took = f"{seconds:.1f} s, {first.prompt_tokens:,} prompt and {first.completion_tokens:,} output tokens"
    found = [Check("test request", "ok", f"a valid {model.__name__} in {took}")]
    if not first.prompt_tokens:
        found.append(Check("usage", "note", "it does not say how many tokens it took", "cost can't be counted"))
    elif not second.cached_tokens:
        said = "of the same prompt again it had nothing in its prefix cache, or does not tell"
        found.append(Check("prefix cache", "note", said, "SGLang: --enable-cache-report, no --disable-radix-cache"))
    if WHITE_SPACE.search(first.text):
        said = "it writes white space between JSON's signs, which are tokens"
        found.append(Check("white space", "note", said, "start it with --constrained-json-disable-any-whitespace"))
    if first.text != second.text and not settings.sampling.temperature:
        said = "it answers the same question in two ways at temperature 0"
        remedy = "SGLang: --sampling-defaults openai, so that the model's own sampling does not mix in"
        found.append(Check("same answer", "note", said, remedy))
    return found


async def _ask(connection: Connection, settings: Settings) -> tuple[Completion, float]:
    room = min(CANARY_TOKENS, settings.limits.max_output_tokens)
    messages, began = settings.prompt.messages(settings.profile_model(), CANARY), time.monotonic()
    body = await connection.send(messages, Attempt.first(settings.sampling, room))
    return Completion.of(body), time.monotonic() - began
