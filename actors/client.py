"""The client: one chunk in, one answer or one fault out. All retries of the project live here."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from actors.connection import Attempt, Connection, Unreachable
from actors.server import Address
from extraction.errors import Fault
from extraction.parsing import ReplyFault, parse
from extraction.settings import Settings

MOST_TOKENS = 1 << 40  # that anybody counts: sums still fit the ledger's columns


@dataclass(frozen=True, slots=True)
class Question:
    """A chunk as the client needs it. Lengths in tokens."""

    chunk_id: str
    content: str
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question: a profile as JSON text, or a fault. Tokens are summed over its attempts.

    `in_flight` is the number of requests that the server worked on when this one ended, itself included.
    """

    chunk_id: str
    reply: str | None = None
    fault: Fault | None = None
    message: str = ""
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    latency_s: float = 0.0
    in_flight: int = 0


class Client:
    """Asks one server, never more than its limit at a time, and judges what it says.

    `revive` is awaited when the server can't be reached; it returns once the server may answer again.
    """

    def __init__(
        self,
        address: Address,
        settings: Settings,
        schema: dict[str, Any],
        revive: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.settings, self.schema, self.revive = settings, schema, revive
        self.model: type[BaseModel] = settings.profile_model()
        self.in_flight = 0
        self._slots = asyncio.Semaphore(address.limit)
        self._connection = self._connect(address)

    async def reconnect(self, address: Address) -> None:
        """Turn to a server's new address after a restart. The slots stay, with those who wait for one."""
        old, self._connection = self._connection, self._connect(address)
        await old.close()

    def _connect(self, address: Address) -> Connection:
        return Connection(address, self.schema, self.settings.requests.deadline_s)

    async def close(self) -> None:
        """Give the connections back."""
        await self._connection.close()

    async def ask(self, question: Question) -> Answer:
        """Ask until there is a profile, a fault of the document, or no attempt left.

        Raises OperatorError when the server says that asking is a mistake (key, model, URL).
        """
        answer, attempt = Answer(question.chunk_id), self._first(question)
        began, last = time.monotonic(), self.settings.requests.attempts
        for number in range(1, last + 1):
            answer = replace(answer, attempts=number)
            try:
                answer, body = await self._send(question, attempt, answer)
                reply = parse(*_content(body), self.model).model_dump_json(by_alias=True)
                answer = replace(answer, reply=reply, fault=None, message="")
                break
            except ReplyFault as failure:
                changed = self._changed(failure.fault, attempt, question, answer)
                answer = replace(answer, fault=failure.fault, message=str(failure))
                if changed is None or number == last:
                    break
                attempt = changed
                if failure.fault.retryable:
                    await self._back_off(number, None)
            except Unreachable as failure:
                answer = replace(answer, fault=failure.fault, message=str(failure))
                if number == last:
                    break
                if self.revive:
                    await self.revive()
                await self._back_off(number, failure.retry_after_s)
        return replace(answer, latency_s=time.monotonic() - began)

    async def _send(self, question: Question, attempt: Attempt, answer: Answer) -> tuple[Answer, dict[str, Any]]:
        """Send once a slot is free; the answer with what this attempt cost, and the reply."""
        async with self._slots:
            self.in_flight += 1
            try:
                messages = self.settings.prompt.messages(self.model, question.content)
                body = await self._connection.send(messages, attempt)
                return _with_usage(replace(answer, in_flight=self.in_flight), body), body
            finally:
                self.in_flight -= 1

    def _first(self, question: Question) -> Attempt:
        drawn = self.settings.sampling
        return Attempt(
            temperature=drawn.temperature,
            frequency_penalty=drawn.frequency_penalty,
            presence_penalty=drawn.presence_penalty,
            max_tokens=question.max_tokens,
            seed=drawn.seed,
        )

    def _changed(self, fault: Fault, last: Attempt, question: Question, answer: Answer) -> Attempt | None:
        """How to ask after a bad reply, one change for each fault; None when nothing is left to try."""
        drawn = self.settings.sampling
        if fault.retryable:
            return last
        if answer.fault == fault:
            return None
        if fault in (Fault.INVALID, Fault.REPETITION):
            return replace(
                last,
                temperature=drawn.retry_temperature,
                frequency_penalty=drawn.retry_frequency_penalty,
                seed=last.seed + 1,
            )
        if fault is Fault.TRUNCATED:
            room = self.settings.limits.context_length - question.prompt_tokens - 1
            more = min(2 * last.max_tokens, room)
            return replace(last, max_tokens=more) if more > last.max_tokens else None
        return None

    async def _back_off(self, number: int, retry_after_s: float | None) -> None:
        """Full jitter, or what the server asks for, never more than the cap."""
        asked = self.settings.requests
        ceiling = min(asked.backoff_max_s, asked.backoff_s * 2**number)
        pause = random.uniform(0, ceiling) if retry_after_s is None else min(retry_after_s, asked.backoff_max_s)
        await asyncio.sleep(pause)


def _content(body: dict[str, Any]) -> tuple[str, str | None]:
    """The text of the first choice and why it ended. Raises ReplyFault when there is none."""
    try:
        choice = body["choices"][0]
        content, reason = choice["message"]["content"], choice["finish_reason"]
    except (KeyError, IndexError, TypeError):
        raise ReplyFault(Fault.INVALID, "the reply holds no choice with a message") from None
    return content if isinstance(content, str) else "", reason if isinstance(reason, str) else None


def _with_usage(answer: Answer, body: dict[str, Any]) -> Answer:
    """The answer with the tokens of one more attempt."""
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    details = details if isinstance(details, dict) else {}
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + _count(usage.get("prompt_tokens")),
        cached_tokens=answer.cached_tokens + _count(details.get("cached_tokens")),
        completion_tokens=answer.completion_tokens + _count(usage.get("completion_tokens")),
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_TOKENS else 0
