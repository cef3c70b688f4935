"""The bare path: a minimal client straight at the server, as many requests at a time as the job has."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any

import aiohttp

from actors.client import Question
from actors.servers.server import Address
from extraction.errors import Fault
from extraction.prompting.parsing import ReplyFault, parse
from jobs.benchmarks.measurement import Sample
from jobs.state.run import Run

EVENT = b"data: "


def ask_all(address: Address, run: Run, questions: Sequence[Question], *, stream: bool = False) -> list[Sample]:
    """Ask each question once; `stream` takes the time of the first token, at some cost to the server.

    What came back is judged as the job does, but after the clock has stopped, and nothing is asked again.
    """
    return asyncio.run(_ask_all(address, run, questions, stream))


async def _ask_all(address: Address, run: Run, questions: Sequence[Question], stream: bool) -> list[Sample]:
    slots = asyncio.Semaphore(address.limit)
    timeout = aiohttp.ClientTimeout(total=run.settings.requests.deadline_s)
    headers = {"Authorization": f"Bearer {address.api_key}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout, connector=connector) as session:

        async def ask(question: Question) -> tuple[float, float, float | None, dict[str, Any]]:
            async with slots:
                body = {**body_of(address, run, question), **(STREAMED if stream else {})}
                began = time.time()
                async with session.post(f"{address.url}/chat/completions", json=body) as response:
                    if response.status != 200:
                        await response.read()
                        return began, time.time(), None, {}
                    first, reply = await _streamed(response) if stream else (None, await response.json())
                return began, time.time(), None if first is None else first - began, reply

        await ask(questions[0])  # the grammar is made and the shared part of the prompts cached, as by a canary
        done = await asyncio.gather(*map(ask, questions))
    return [_sample(run, *one) for one in done]


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def body_of(address: Address, run: Run, question: Question) -> dict[str, Any]:
    """A chat request as the job sends it."""
    drawn = run.settings.sampling
    logprobs = {"logprobs": True} if run.settings.confidence.logprobs else {}
    return {
        **logprobs,
        "model": address.model,
        "messages": run.settings.prompt.messages(run.model, question.content),
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "profile", "schema": run.schema, "strict": True},
        },
        "temperature": drawn.temperature,
        "frequency_penalty": drawn.frequency_penalty,
        "presence_penalty": drawn.presence_penalty,
        "max_tokens": question.max_tokens,
        "seed": drawn.seed,
    }


async def _streamed(response: aiohttp.ClientResponse) -> tuple[float | None, dict[str, Any]]:
    """When the first text came, and the events put together to one reply."""
    first, text, finish, usage = None, [], None, None
    async for line in response.content:
        if not line.startswith(EVENT) or line.startswith(EVENT + b"[DONE]"):
            continue
        event = json.loads(line.removeprefix(EVENT))
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            finish = choice["finish_reason"] or finish
            if choice["delta"].get("content"):
                first = first or time.time()
                text.append(choice["delta"]["content"])
    choice = {"message": {"content": "".join(text)}, "finish_reason": finish}
    return first, {"choices": [choice], "usage": usage}


def _sample(run: Run, began: float, ended: float, first: float | None, reply: dict[str, Any]) -> Sample:
    usage = reply.get("usage") or {}
    return Sample(
        began=began,
        ended=ended,
        latency_s=ended - began,
        prompt_tokens=usage.get("prompt_tokens", 0),
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
        completion_tokens=usage.get("completion_tokens", 0),
        fault=_fault(run, reply),
        first_token_s=first,
    )


def _fault(run: Run, reply: dict[str, Any]) -> str | None:
    if not reply:
        return str(Fault.UNAVAILABLE)
    choice = reply["choices"][0]
    try:
        parse(choice["message"]["content"] or "", choice["finish_reason"], run.model)
    except ReplyFault as failure:
        return str(failure.fault)
    return None
