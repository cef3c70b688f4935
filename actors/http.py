"""Sends one HTTP request to one server, and returns its completion or raises one classified error."""

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

MAX_TOKEN_COUNT = 1 << 40  # larger counts are nonsense, and their sums would not fit the ledger's columns


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling parameters of one request. `max_tokens` bounds the reply."""

    temperature: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Completion:
    """The text of the first choice, its finish reason, and its token counts; 0 for a count that is nonsense.

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
        """Read a body of any shape; what is missing or of another type is left empty."""
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
    return value if isinstance(value, int) and 0 <= value < MAX_TOKEN_COUNT else 0


MAX_REPLY_BYTES = 4 << 20
MAX_ERROR_BYTES = 64 << 10
PROBE_S = 30
PROBE_PARAMS = SamplingParams(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=1, seed=0)
PROXY_STATUSES = (502, 504, 522, 524)
TOO_LONG_SIGNS = ("longer than", "context length", "context size", "maximum context", "too long", "exceeds")


class Unreachable(Exception):
    """The server sent no valid HTTP reply; another attempt may help. `broken`: the connection failed."""

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


class StatusError(openai.OpenAIError):
    """A reply with a status of 300 or more, and the beginning of its body."""

    def __init__(self, status: int, text: str, retry_after: str | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.text, self.retry_after = status, text, retry_after


class Connection:
    """An HTTP client for one address: it uses no proxy of the environment and follows no redirect.

    `replied_at` is the monotonic time of the last reply. With `logprobs` each request asks for the
    log-probabilities of its completion's tokens.
    """

    def __init__(
        self, address: ServerAddress, schema: dict[str, Any], deadline_s: float, *, logprobs: bool = False
    ) -> None:
        self.address, self.deadline_s = address, deadline_s
        self.replied_at = -math.inf
        json_schema = {"name": "profile", "schema": schema, "strict": True}
        self._body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": json_schema}}
        if logprobs:
            self._body["logprobs"] = True
        self._openai = AsyncOpenAI(
            base_url=address.url,
            api_key=address.api_key,
            max_retries=0,
            timeout=deadline_s,
            http_client=DefaultAsyncHttpxClient(
                trust_env=False, follow_redirects=False, event_hooks={"response": [_raise_for_status]}
            ),
        )

    @property
    def has_replied(self) -> bool:
        """Whether there was any reply."""
        return self.replied_at > -math.inf

    async def close(self) -> None:
        """Close the sockets."""
        await self._openai.close()

    async def is_responsive(self) -> bool:
        """Whether the smallest request gets a reply; a hung server may still accept connections."""
        try:
            await self.send([{"role": "user", "content": "Hello"}], PROBE_PARAMS, min(PROBE_S, self.deadline_s))
        except Unreachable:
            return False
        except ReplyFault:
            pass
        return True

    async def send(
        self, messages: list[Message], params: SamplingParams, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """Return the reply's JSON. The deadline (seconds) counts until the reply's last byte.

        Raises Unreachable when another attempt may help, ReplyFault for a request that the server refuses,
        OperatorError for a wrong key, model or URL.
        """
        body = await self._json(self._post(messages, params), deadline_s or self.deadline_s)
        self.replied_at = time.monotonic()
        return body

    async def models(self) -> list[dict[str, Any]]:
        """List the models that the server serves, as it describes them. Raises as `send` does."""
        models = (await self._json(self._list(), min(PROBE_S, self.deadline_s))).get("data")
        return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []

    async def _json(self, reply: Awaitable[bytes], deadline_s: float) -> dict[str, Any]:
        """A reply's JSON within a deadline; raises every failure as one classified error."""
        try:
            async with asyncio.timeout(deadline_s):
                body = json.loads(await reply)
        except TimeoutError:
            setting = "requests.deadline_s = " if deadline_s == self.deadline_s else ""
            raise Unreachable(f"no answer within {setting}{deadline_s:g} s", Fault.DEADLINE) from None
        except openai.APITimeoutError:
            raise Unreachable("the server stopped answering", Fault.DEADLINE) from None
        except (ValueError, RecursionError) as error:
            raise Unreachable(f"the reply is no JSON ({type(error).__name__})") from None
        except (openai.OpenAIError, OSError, RuntimeError) as error:  # RuntimeError: the client was closed
            cause = error if isinstance(error, StatusError) else error.__cause__  # some releases of openai wrap it
            if isinstance(cause, StatusError):
                raise _classify(cause, self.address) from None
            raise Unreachable(f"the connection failed ({type(error).__name__})", broken=True) from None
        if not isinstance(body, dict):
            raise Unreachable("the reply is no JSON object")
        return body

    async def _list(self) -> bytes:
        async with self._openai.models.with_streaming_response.list() as response:
            return await _read(response.iter_bytes(), MAX_REPLY_BYTES)

    async def _post(self, messages: Any, params: SamplingParams) -> bytes:
        async with self._openai.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=messages,
            extra_body=self._body,  # openai would walk through other arguments, key by key, for each request
            temperature=params.temperature,
            frequency_penalty=params.frequency_penalty,
            presence_penalty=params.presence_penalty,
            max_tokens=params.max_tokens,
            seed=params.seed,
        ) as response:
            body = await _read(response.iter_bytes(), MAX_REPLY_BYTES)
        if len(body) > MAX_REPLY_BYTES:
            raise ReplyFault(Fault.INVALID, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        return body


async def _read(parts: AsyncIterator[bytes], max_bytes: int) -> bytes:
    """A body, or its beginning once that is longer than `max_bytes`.

    openai lets the errors of the HTTP library beneath it through while a body is read.
    """
    body = bytearray()
    try:
        async for part in parts:
            body += part
            if len(body) > max_bytes:
                break
    except Exception as error:
        raise Unreachable(f"the reply broke off ({type(error).__name__})", broken=True) from None
    return bytes(body)


async def _raise_for_status(response: Any) -> None:
    """Raise StatusError before openai reads the body, however long that is."""
    if response.status_code >= 300:
        text = (await _read(response.aiter_bytes(), MAX_ERROR_BYTES)).decode("utf-8", errors="replace")
        raise StatusError(response.status_code, text, response.headers.get("retry-after"))


def _classify(error: StatusError, address: ServerAddress) -> Exception:
    """The error that an HTTP status stands for: a document's, a server's, or an operator's mistake."""
    status = error.status
    if status < 400:
        return OperatorError(
            f"{address.url} sends requests elsewhere (HTTP {status}), and no redirect is followed: "
            "give --endpoint the URL that it leads to"
        )
    if status in (401, 403):
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY")
    if status == 404:
        return OperatorError(_not_found(error, address))
    if status in (400, 413, 422):
        text = error.text.lower()
        fault = Fault.TOO_LONG if any(sign in text for sign in TOO_LONG_SIGNS) else Fault.REJECTED
        return ReplyFault(fault, f"the server refused the request (HTTP {status})")
    hint = ", a proxy's: the server behind it did not answer in time" if status in PROXY_STATUSES else ""
    return Unreachable(f"the server answered HTTP {status}{hint}", retry_after_s=_seconds(error.retry_after))


def _not_found(error: StatusError, address: ServerAddress) -> str:
    """What a 404 means: a model of another name, or, from a proxy, that there is no server."""
    if "model" in error.text.lower():
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
