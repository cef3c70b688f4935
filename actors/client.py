"""Requests: one chunk in, one answer or one fault out. All retries of the project live here."""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import BaseModel

from actors.server import Address
from extraction.errors import Fault, OperatorError
from extraction.parsing import ReplyFault, parse
from extraction.prompt import Prompt
from extraction.settings import Settings

MAX_REPLY_BYTES = 4 << 20
TOO_LONG_SIGNS = ("longer than", "context length", "context size", "maximum context", "too long", "exceeds")
CHANGED_RETRIES = (Fault.INVALID, Fault.REPETITION)


@dataclass(frozen=True, slots=True)
class Question:
    """A chunk as the client needs it. Lengths in tokens."""

    chunk_id: str
    content: str
    prompt_tokens: int
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question: a profile as JSON text, or a fault. Tokens are summed over its attempts."""

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


@dataclass(frozen=True, slots=True)
class _Attempt:
    """How to ask next time."""

    temperature: float
    frequency_penalty: float
    max_tokens: int
    seed: int


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
        self.settings, self.revive = settings, revive
        self.model: type[BaseModel] = settings.profile_model()
        self.prompt: Prompt = settings.prompt
        self.schema = schema
        self.in_flight = 0
        self._connect(address)

    async def reconnect(self, address: Address) -> None:
        """Turn to a server's new address after a restart."""
        old = self._openai
        self._connect(address)
        await old.close()

    def _connect(self, address: Address) -> None:
        self.address = address
        self._slots = asyncio.Semaphore(address.limit)
        self._openai = AsyncOpenAI(
            base_url=address.url,
            api_key=address.api_key,
            max_retries=0,
            timeout=self.settings.requests.deadline_s,
            # No proxy from the environment may see documents, no redirect may carry them elsewhere.
            http_client=DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False),
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._openai.close()

    async def ask(self, question: Question) -> Answer:
        """Ask until there is a profile, a fault of the document, or no attempt left.

        Raises OperatorError when the server says that asking is a mistake (key, model, URL).
        """
        began, answer = time.monotonic(), Answer(question.chunk_id)
        attempt = self._first(question)
        for number in range(1, self.settings.requests.attempts + 1):
            answer = replace(answer, attempts=number)
            try:
                body = await self._send(question, attempt)
                answer = _with_usage(answer, body)
                profile = parse(*_content(body), self.model)
                reply = profile.model_dump_json()
                answer = replace(answer, reply=reply, fault=None, message="")
                break
            except ReplyFault as failure:
                changed = self._changed(failure.fault, attempt, question, answer)
                answer = replace(answer, fault=failure.fault, message=str(failure))
                if changed is None:
                    break
                attempt = changed
                if failure.fault.retryable:
                    await self._back_off(number, None)
            except _Unreachable as failure:
                answer = replace(answer, fault=failure.fault, message=str(failure))
                if number == self.settings.requests.attempts:
                    break
                if self.revive:
                    await self.revive()
                await self._back_off(number, failure.retry_after_s)
        return replace(answer, latency_s=time.monotonic() - began, in_flight=self.in_flight)

    def _first(self, question: Question) -> _Attempt:
        drawn = self.settings.sampling
        return _Attempt(drawn.temperature, drawn.frequency_penalty, question.max_tokens, drawn.seed)

    def _changed(self, fault: Fault, last: _Attempt, question: Question, answer: Answer) -> _Attempt | None:
        """What to do otherwise after a bad reply, once a fault; None when nothing is left to try."""
        drawn = self.settings.sampling
        if fault.retryable:
            return last
        if answer.fault == fault:
            return None
        if fault in CHANGED_RETRIES:
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

    async def _send(self, question: Question, attempt: _Attempt) -> dict[str, Any]:
        """One request within its deadline, counted from when the server takes it; the reply's JSON."""
        async with self._slots:
            self.in_flight += 1
            try:
                async with asyncio.timeout(self.settings.requests.deadline_s):
                    return await self._post(question, attempt)
            except TimeoutError:
                waited = self.settings.requests.deadline_s
                raise _Unreachable(
                    f"no answer within requests.deadline_s = {waited:g} s", Fault.DEADLINE
                ) from None
            except openai.APIStatusError as error:
                raise _judge(error, self.address) from None
            except openai.APITimeoutError:
                raise _Unreachable("the server stopped answering", Fault.DEADLINE) from None
            except (openai.APIError, ValueError, OSError) as error:
                raise _Unreachable(f"the connection failed ({type(error).__name__})") from None
            finally:
                self.in_flight -= 1

    async def _post(self, question: Question, attempt: _Attempt) -> dict[str, Any]:
        drawn = self.settings.sampling
        messages: Any = self.prompt.messages(self.model, question.content)
        async with self._openai.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=messages,
            max_tokens=attempt.max_tokens,
            temperature=attempt.temperature,
            frequency_penalty=attempt.frequency_penalty,
            presence_penalty=drawn.presence_penalty,
            seed=attempt.seed,
            response_format={
                "type": "json_schema",
                "json_schema": {"name": "profile", "schema": self.schema, "strict": True},
            },
        ) as response:
            body = bytearray()
            async for part in response.iter_bytes():
                body += part
                if len(body) > MAX_REPLY_BYTES:
                    raise ReplyFault(Fault.INVALID, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        found = json.loads(body)
        if not isinstance(found, dict):
            raise ValueError("the reply is no JSON object")
        return found

    async def _back_off(self, number: int, retry_after_s: float | None) -> None:
        """Full jitter, or what the server asks for, never more than the cap."""
        asked = self.settings.requests
        ceiling = min(asked.backoff_max_s, asked.backoff_s * 2**number)
        pause = (
            random.uniform(0, ceiling) if retry_after_s is None else min(retry_after_s, asked.backoff_max_s)
        )
        await asyncio.sleep(pause)


class _Unreachable(Exception):
    """The server did not answer as a server should: worth another try."""

    def __init__(
        self, message: str, fault: Fault = Fault.UNAVAILABLE, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.fault, self.retry_after_s = fault, retry_after_s


def _judge(error: openai.APIStatusError, address: Address) -> Exception:
    """What an HTTP status means: a fault of the document, of the server, or the operator's mistake."""
    status = error.status_code
    said = " ".join(str(error.message).split())[:200]
    if status in (401, 403):
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY")
    if status == 404:
        return OperatorError(
            f"{address.url} has no model {address.model!r}, or is no longer there (HTTP 404): "
            "check --endpoint and --model"
        )
    if status in (400, 413, 422):
        too_long = any(sign in said.lower() for sign in TOO_LONG_SIGNS)
        fault = Fault.TOO_LONG if too_long else Fault.REJECTED
        return ReplyFault(fault, f"the server refused the request (HTTP {status})")
    return _Unreachable(f"the server answered HTTP {status}", retry_after_s=_retry_after(error))


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None


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
    usage = body.get("usage") or {}
    details = usage.get("prompt_tokens_details") or {}
    return replace(
        answer,
        prompt_tokens=answer.prompt_tokens + int(usage.get("prompt_tokens") or 0),
        cached_tokens=answer.cached_tokens + int(details.get("cached_tokens") or 0),
        completion_tokens=answer.completion_tokens + int(usage.get("completion_tokens") or 0),
    )
