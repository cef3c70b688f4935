"""A connection to one server: a request goes out, the reply's JSON or one judged error comes back."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from actors.server import Address
from extraction.errors import Fault, OperatorError
from extraction.parsing import ReplyFault
from extraction.tokens import Message

MAX_REPLY_BYTES = 4 << 20
TOO_LONG_SIGNS = ("longer than", "context length", "context size", "maximum context", "too long", "exceeds")


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a question is asked this time. `max_tokens` bounds the answer."""

    temperature: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int
    seed: int


class Unreachable(Exception):
    """The server did not answer as a server should: worth another try."""

    def __init__(self, message: str, fault: Fault = Fault.UNAVAILABLE, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.fault, self.retry_after_s = fault, retry_after_s


class Connection:
    """Talks to one address and to nothing else: no proxy of the environment, no redirect."""

    def __init__(self, address: Address, schema: dict[str, Any], deadline_s: float) -> None:
        self.address, self.deadline_s = address, deadline_s
        self._format: Any = {
            "type": "json_schema",
            "json_schema": {"name": "profile", "schema": schema, "strict": True},
        }
        self._openai = AsyncOpenAI(
            base_url=address.url,
            api_key=address.api_key,
            max_retries=0,
            timeout=deadline_s,
            http_client=DefaultAsyncHttpxClient(trust_env=False, follow_redirects=False),
        )

    async def close(self) -> None:
        """Give the sockets back."""
        await self._openai.close()

    async def send(self, messages: list[Message], attempt: Attempt) -> dict[str, Any]:
        """The reply's JSON within the deadline, the whole of it counted.

        Raises Unreachable when another try may help, ReplyFault for a request that the server refuses,
        OperatorError for a wrong key, model or URL.
        """
        try:
            async with asyncio.timeout(self.deadline_s):
                body = json.loads(await self._post(messages, attempt))
        except TimeoutError:
            raise Unreachable(
                f"no answer within requests.deadline_s = {self.deadline_s:g} s", Fault.DEADLINE
            ) from None
        except openai.APIStatusError as error:
            raise _judge(error, self.address) from None
        except openai.APITimeoutError:
            raise Unreachable("the server stopped answering", Fault.DEADLINE) from None
        except (openai.APIError, ValueError, RecursionError, OSError) as error:
            raise Unreachable(f"the connection failed ({type(error).__name__})") from None
        if not isinstance(body, dict):
            raise Unreachable("the reply is no JSON object")
        return body

    async def _post(self, messages: Any, attempt: Attempt) -> bytes:
        async with self._openai.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=messages,
            response_format=self._format,
            temperature=attempt.temperature,
            frequency_penalty=attempt.frequency_penalty,
            presence_penalty=attempt.presence_penalty,
            max_tokens=attempt.max_tokens,
            seed=attempt.seed,
        ) as response:
            return await _read(response.iter_bytes())


async def _read(parts: AsyncIterator[bytes]) -> bytes:
    """A reply's body. openai lets the errors of the HTTP library beneath it through while a body is read."""
    body = bytearray()
    try:
        async for part in parts:
            body += part
            if len(body) > MAX_REPLY_BYTES:
                break
    except Exception as error:
        raise Unreachable(f"the reply broke off ({type(error).__name__})") from None
    if len(body) > MAX_REPLY_BYTES:
        raise ReplyFault(Fault.INVALID, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
    return bytes(body)


def _judge(error: openai.APIStatusError, address: Address) -> Exception:
    """What an HTTP status means: a fault of the document, of the server, or the operator's mistake."""
    status = error.status_code
    if status in (401, 403):
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY")
    if status == 404:
        return OperatorError(
            f"{address.url} has no model {address.model!r}, or is no longer there (HTTP 404): "
            "check --endpoint and --model"
        )
    if status in (400, 413, 422):
        said = str(error.message).lower()
        fault = Fault.TOO_LONG if any(sign in said for sign in TOO_LONG_SIGNS) else Fault.REJECTED
        return ReplyFault(fault, f"the server refused the request (HTTP {status})")
    return Unreachable(f"the server answered HTTP {status}", retry_after_s=_retry_after(error))


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        return max(0.0, float(error.response.headers["retry-after"]))
    except (KeyError, ValueError):
        return None
