"""HTTP to one server: a request goes out, the reply's completion or one classified error comes back."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError
from extraction.prompting.logprobs import Token, token_pairs
from extraction.prompting.prompt import Message
from extraction.prompting.reply_parsing import ReplyFault

MOST_TOKENS = 1 << 40  # that anybody counts: sums still fit the ledger's columns


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a request says besides its messages: the sampling parameters. `max_tokens` bounds the reply."""

    temperature: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The text of the first choice, why it ended, and the tokens that it took. Nonsense counts as nothing.

    `logprobs` are the text's tokens with their log-probabilities; none where the server gives none.
    """

    text: str
    finish_reason: str | None
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    logprobs: tuple[Token, ...] = ()

    @classmethod
    def of(cls, body: dict[str, Any]) -> "Completion":
        """What a body of any shape says."""
        try:
            choice = body["choices"][0]
            text, reason = choice["message"]["content"], choice["finish_reason"]
        except (KeyError, IndexError, TypeError):
            choice = text = reason = None
        usage = _dict(body.get("usage"))
        return cls(
            text=text if isinstance(text, str) else "",
            finish_reason=reason if isinstance(reason, str) else None,
            prompt_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=_count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            logprobs=tuple(token_pairs(_dict(_dict(choice).get("logprobs")).get("content"))),
        )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < MOST_TOKENS else 0


MAX_REPLY_BYTES = 4 << 20
MAX_ERROR_BYTES = 64 << 10
PROBE_S = 30
PROBE_PATH = Attempt(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=1, seed=0)
PROXY_GAVE_UP = (502, 504, 522, 524)
TOO_LONG_SIGNS = ("longer than", "context length", "context size", "maximum context", "too long", "exceeds")


class Unreachable(Exception):
    """The server did not answer as a server should: worth another try. `broken`: the connection failed."""

    def __init__(
        self,
        message: str,
        fault: Fault = Fault.UNAVAILABLE,
        *,
        retry_after_s: float | None = None,
        broken: bool = False,
    ) -> None:
        super().__init__(message)
        self.fault, self.retry_after_s, self.broken = fault, retry_after_s, broken


class Refusal(openai.OpenAIError):
    """A reply with a status that is no success, and the beginning of what it says."""

    def __init__(self, status: int, said: str, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.said, self.retry_after = status, said, retry_after


class Connection:
    """Talks to one address and to nothing else: no proxy of the environment, no redirect.

    `replied_at` is the monotonic time of the last reply. With `logprobs` each request asks for the
    log-probabilities of the tokens that it is answered with.
    """

    def __init__(
        self, address: ServerAddress, schema: dict[str, Any], deadline_s: float, *, logprobs: bool = False
    ) -> None:
        self.address, self.deadline_s = address, deadline_s
        self.replied_at = -math.inf
        shape = {"name": "profile", "schema": schema, "strict": True}
        self._format: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": shape}}
        if logprobs:
            self._format["logprobs"] = True
        self._openai = AsyncOpenAI(
            base_url=address.url,
            api_key=address.api_key,
            max_retries=0,
            timeout=deadline_s,
            http_client=DefaultAsyncHttpxClient(
                trust_env=False, follow_redirects=False, event_hooks={"response": [_refuse]}
            ),
        )

    @property
    def has_replied(self) -> bool:
        """Whether there was a reply at all."""
        return self.replied_at > -math.inf

    async def close(self) -> None:
        """Give the sockets back."""
        await self._openai.close()

    async def answers(self) -> bool:
        """Whether the smallest request gets a reply; a server may take connections and say nothing."""
        try:
            await self.send([{"role": "user", "content": "Hello"}], PROBE_PATH, min(PROBE_S, self.deadline_s))
        except Unreachable:
            return False
        except ReplyFault:
            return True
        return True

    async def send(
        self, messages: list[Message], attempt: Attempt, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """The reply's JSON within the deadline, the whole of it counted.

        Raises Unreachable when another try may help, ReplyFault for a request that the server refuses,
        OperatorError for a wrong key, model or URL.
        """
        body = await self._judged(self._post(messages, attempt), deadline_s or self.deadline_s)
        self.replied_at = time.monotonic()
        return body

    async def models(self) -> list[dict[str, Any]]:
        """What the server says of each model that it serves. Raises as `send` does."""
        listed = (await self._judged(self._list(), min(PROBE_S, self.deadline_s))).get("data")
        return [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []

    async def _judged(self, reply: Awaitable[bytes], deadline_s: float) -> dict[str, Any]:
        """A reply's JSON within a deadline, or the one error that says what went wrong."""
        try:
            async with asyncio.timeout(deadline_s):
                body = json.loads(await reply)
        except TimeoutError:
            whose = "requests.deadline_s = " if deadline_s == self.deadline_s else ""
            raise Unreachable(f"no answer within {whose}{deadline_s:g} s", Fault.DEADLINE) from None
        except openai.APITimeoutError:
            raise Unreachable("the server stopped answering", Fault.DEADLINE) from None
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"the reply is no JSON ({type(error).__name__})") from None
        except (openai.OpenAIError, OSError, RuntimeError) as error:  # RuntimeError: closed meanwhile
            refusal = error if isinstance(error, Refusal) else error.__cause__  # some releases of openai wrap it
            if isinstance(refusal, Refusal):
                raise _judge(refusal, self.address) from None
            raise Unreachable(f"the connection failed ({type(error).__name__})", broken=True) from None
        if not isinstance(body, dict):
            raise Unreachable("the reply is no JSON object")
        return body

    async def _list(self) -> bytes:
        async with self._openai.models.with_streaming_response.list() as response:
            return await _read(response.iter_bytes(), MAX_REPLY_BYTES)

    async def _post(self, messages: Any, attempt: Attempt) -> bytes:
        async with self._openai.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=messages,
            extra_body=self._format,  # which openai does not walk through, key by key, for each request
            temperature=attempt.temperature,
            frequency_penalty=attempt.frequency_penalty,
            presence_penalty=attempt.presence_penalty,
            max_tokens=attempt.max_tokens,
            seed=attempt.seed,
        ) as response:
            body = await _read(response.iter_bytes(), MAX_REPLY_BYTES)
        if len(body) > MAX_REPLY_BYTES:
            raise ReplyFault(Fault.INVALID, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        return body


async def _read(parts: AsyncIterator[bytes], most: int) -> bytes:
    """A body, or its beginning once that is longer than `most`.

    openai lets the errors of the HTTP library beneath it through while a body is read.
    """
    body = bytearray()
    try:
        async for part in parts:
            body += part
            if len(body) > most:
                break
    except Exception as error:
        raise Unreachable(f"the reply broke off ({type(error).__name__})", broken=True) from None
    return bytes(body)


async def _refuse(response: Any) -> None:
    """Raise Refusal for what is no success, before openai reads its body, however long that is."""
    if response.status_code >= 300:
        said = await _read(response.aiter_bytes(), MAX_ERROR_BYTES)
        raise Refusal(
            response.status_code, said.decode("utf-8", errors="replace"), response.headers.get("retry-after")
        )


def _judge(refusal: Refusal, address: ServerAddress) -> Exception:
    """What an HTTP status means: a fault of the document, of the server, or the operator's mistake."""
    status = refusal.status
    if status < 400:
        return OperatorError(
            f"{address.url} sends requests elsewhere (HTTP {status}), and no redirect is followed: "
            "give --endpoint the URL that it leads to"
        )
    if status in (401, 403):
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY")
    if status == 404:
        return OperatorError(_not_found(refusal, address))
    if status in (400, 413, 422):
        said = refusal.said.lower()
        fault = Fault.TOO_LONG if any(sign in said for sign in TOO_LONG_SIGNS) else Fault.REJECTED
        return ReplyFault(fault, f"the server refused the request (HTTP {status})")
    whose = ", a proxy's: the server behind it did not answer in time" if status in PROXY_GAVE_UP else ""
    return Unreachable(f"the server answered HTTP {status}{whose}", retry_after_s=_seconds(refusal.retry_after))


def _not_found(refusal: Refusal, address: ServerAddress) -> str:
    """What a 404 means: a model of another name, or, from a proxy, that there is no server."""
    if "model" in refusal.said.lower():
        return (
            f"{address.url} serves no model {address.model!r} (HTTP 404): give --model or VLLM_MODEL a name that "
            f"{address.url}/models lists"
        )
    return (
        f"nothing serves {address.url} (HTTP 404): is its pod running? The URL of a pod's proxy changes when it "
        "restarts: look it up and give it as --endpoint, OPENAI_BASE_URL or VLLM_ENDPOINT"
    )


def _seconds(retry_after: str | None) -> float | None:
    try:
        return None if retry_after is None else max(0.0, float(retry_after))
    except ValueError:
        return None
