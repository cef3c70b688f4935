"""Sends one HTTP request to one server, and returns its completion or raises one classified error."""

import asyncio
import ipaddress
import json
import math
import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from actors.http_errors import Unreachable, classify, failed_reply, first_choice, redacted_message
from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError
from extraction.prompting.logprobs import Token, token_pairs
from extraction.prompting.prompt import Message
from extraction.prompting.reply_parsing import CUT_OFF, JSON_START, OBJECT_START, ReplyFault, normal_reason

Headers = Mapping[str, str]
HttpReply = tuple[bytes, Headers]
MAX_TOKEN_COUNT = 1 << 40  # larger counts are nonsense, and their sums would not fit the ledger's columns


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling parameters of one request. `max_tokens` bounds the reply."""

    temperature: float
    frequency_penalty: float
    presence_penalty: float
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Dialect:
    """How a server wants to be asked: without some sampling parameters, with or without log-probabilities, with the
    bound of a reply by another name. A test request finds it out."""

    logprobs: bool = True
    max_tokens: str = "max_tokens"
    omitted: frozenset[str] = frozenset()

    def parameters(self, params: SamplingParams) -> dict[str, Any]:
        """The parameters of a request as the server takes them."""
        named = {self.max_tokens if name == "max_tokens" else name: value for name, value in asdict(params).items()}
        return {name: value for name, value in named.items() if name not in self.omitted}

    def adapted(self, refusal: str) -> "Dialect | None":
        """The dialect that a refusal of this one asks for; None where no other is left to try."""
        if self.max_tokens == "max_tokens" and NEWER_MAX_TOKENS in refusal:
            return replace(self, max_tokens=NEWER_MAX_TOKENS)
        named = {name for name in OMITTABLE if _names(refusal, name)}
        named = (named or {name for name in OMITTABLE if _names(refusal, name.split("_")[-1])}) - self.omitted
        if not named and self.logprobs:
            return replace(self, logprobs=False)
        omitted = self.omitted | (named or set(OMITTABLE))
        return replace(self, omitted=omitted) if omitted != self.omitted else None

    def __str__(self) -> str:
        """What is unusual about it, in words."""
        parts = [] if self.logprobs else ["no log-probabilities, confidence goes without them"]
        parts += [] if self.max_tokens == "max_tokens" else [f"{self.max_tokens} for max_tokens"]
        return "; ".join([*parts, *(f"no {name}" for name in sorted(self.omitted))])


def _names(refusal: str, parameter: str) -> bool:
    """Whether a refusal names a parameter: presence_penalty, presencePenalty."""
    return re.search(rf"\b{parameter.replace('_', '')}\b", refusal.replace("_", ""), re.IGNORECASE) is not None


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
    def of(cls, body: Any) -> "Completion | None":
        """Read a body of any shape; None where it holds no choice, or one that ended in an error."""
        body = _dict(body)
        choice = first_choice(body)
        message = choice.get("message", choice.get("delta", {"content": choice.get("text")}))
        reason = choice.get("finish_reason")
        reason = reason if isinstance(reason, str) else None
        failed = body.get("error") or choice.get("error") or normal_reason(reason) in FAILURE_REASONS
        if failed or not isinstance(message, dict) or not choice.keys() & {"message", "delta", "text"}:
            return None
        usage = _dict(body.get("usage"))
        return cls(
            text=_whole(_text(message, reason)),
            finish_reason="refusal" if message.get("refusal") else reason,
            prompt_tokens=_count(usage.get("prompt_tokens")),
            cached_tokens=_count(_dict(usage.get("prompt_tokens_details")).get("cached_tokens")),
            completion_tokens=_count(usage.get("completion_tokens")),
            logprobs=tuple((_whole(t), p) for t, p in token_pairs(_dict(choice.get("logprobs")).get("content"))),
        )


def _whole(text: str) -> str:
    """A text without halves of characters, which no file can hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(message: dict[str, Any], reason: str | None) -> str:
    """What a message says: its content or the arguments of its tool calls, the content first if it holds an object.
    Where both are blank, the thoughts, for which some servers take an answer; if they were cut, they are none."""
    calls = message.get("tool_calls")
    functions = [_dict(call).get("function") for call in calls] if isinstance(calls, list) else []
    parts = [_text_in(_dict(call).get("arguments")) for call in (*functions, message.get("function_call"))]
    content, arguments = _unquoted(_text_in(message.get("content"))), _unquoted("".join(parts))
    if arguments.strip() and not OBJECT_START.search(content):
        return arguments
    if content.strip():
        return content
    thoughts = [_text_in(message.get(name)) for name in ("reasoning_content", "reasoning")]
    is_answer = JSON_START.match if normal_reason(reason) in CUT_OFF else OBJECT_START.search
    return next(filter(is_answer, thoughts), content)


def _unquoted(text: str) -> str:
    """A text, or the one in it where it is a JSON string."""
    try:
        inner = json.loads(text) if text.lstrip()[:1] == '"' else None
    except (ValueError, RecursionError):
        return text
    return inner if isinstance(inner, str) else text


def _text_in(value: Any) -> str:
    """A text that came as such, in parts, or as JSON that was parsed already."""
    if isinstance(value, list):
        return "".join(map(_part, value))
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return value if isinstance(value, str) else ""


def _part(part: Any) -> str:
    """The text of a part of a message; thoughts are no part of it."""
    if not isinstance(part, dict):
        return _text_in(part)
    if part.get("type") in ("thinking", "reasoning"):
        return ""
    text = part.get("text", part.get("json"))
    return _text_in(_dict(part.get("text")).get("value", text))


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    try:
        count = int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0
    return count if 0 <= count < MAX_TOKEN_COUNT else 0


MAX_REPLY_BYTES = 4 << 20
MAX_ERROR_BYTES = 64 << 10
MAX_NOTE_BYTES = 2 << 10  # of a body in the server's own words that is no JSON
MODELS_TEXT = re.compile(r'"(?:choices|content|text|delta|response)"\s*:\s*["\[{]')
PROBE_S = 30
PROBE_PARAMS = SamplingParams(temperature=0, frequency_penalty=0, presence_penalty=0, max_tokens=1, seed=0)
OMITTABLE = ("temperature", "frequency_penalty", "presence_penalty", "seed")
EXPLAINED_BY_BODY = (400, 403, 422)  # statuses that mean little without their body
NEWER_MAX_TOKENS = "max_completion_tokens"
ENVIRONMENT = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
FAILURE_REASONS = {"error", "network_error", "insufficient_system_resource", "internal_error", "server_error"}


class StatusError(openai.OpenAIError):
    """A reply with a status of 300 or more, and the beginning of its body."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.text, self.headers = status, text, headers


class Connection:
    """An HTTP client for one address: it follows no redirect. The environment's proxies are not used for a loopback
    address; SSL_CERT_FILE and SSL_CERT_DIR always count.

    `replied_at` is the monotonic time of the last reply.
    """

    def __init__(
        self, address: ServerAddress, schema: dict[str, Any], deadline_s: float, dialect: Dialect | None = None
    ) -> None:
        self.address, self.deadline_s = address, deadline_s
        self.dialect = dialect or Dialect(logprobs=False)
        self.replied_at = -math.inf
        json_schema = {"name": "profile", "schema": schema, "strict": True}
        self._body: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": json_schema}}
        if self.dialect.logprobs:
            self._body["logprobs"] = True
        self._openai = AsyncOpenAI(
            base_url=address.url,
            api_key=address.api_key,
            max_retries=0,
            timeout=deadline_s,
            http_client=_http_client(address.url),
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
    ) -> Completion:
        """Return the completion. The deadline (seconds) counts until the reply's last byte.

        Raises Unreachable when another attempt may help, Refused for a request that the server refuses, ReplyFault
        for a reply that is too large, OperatorError for a wrong key or URL.
        """
        document = messages[-1]["content"]
        body, headers = await self._json(self._post(messages, params), deadline_s or self.deadline_s, document)
        self.replied_at = time.monotonic()
        completion = Completion.of(body)
        if completion is None:
            raise failed_reply(body, headers, self.address, document)
        return completion

    async def models(self) -> list[dict[str, Any]]:
        """List the models that the server serves, as it describes them. Raises as `send` does."""
        body, _ = await self._json(self._list(), min(PROBE_S, self.deadline_s))
        models = body if isinstance(body, list) else _dict(body).get("data")
        return [model for model in models if isinstance(model, dict)] if isinstance(models, list) else []

    async def _json(
        self, reply: Awaitable[HttpReply], deadline_s: float, document: str = ""
    ) -> tuple[Any, Headers]:
        """A reply's JSON within a deadline; raises every failure as one classified error."""
        try:
            async with asyncio.timeout(deadline_s):
                text, headers = await reply
        except TimeoutError:
            setting = "requests.deadline_s = " if deadline_s == self.deadline_s else ""
            raise Unreachable(f"no answer within {setting}{deadline_s:g} s", Fault.DEADLINE) from None
        except openai.APITimeoutError:
            raise Unreachable("the server stopped answering", Fault.DEADLINE) from None
        except (openai.OpenAIError, OSError, RuntimeError, ValueError) as error:  # Runtime: the client was closed
            cause = error if isinstance(error, StatusError) else error.__cause__  # some releases of openai wrap it
            if isinstance(cause, StatusError):
                raise classify(cause.status, cause.text, cause.headers, self.address, document) from None
            raise self._broken(cause or error) from None
        try:
            return json.loads(text), headers
        except (ValueError, RecursionError) as error:
            page = text[:MAX_ERROR_BYTES].decode("utf-8", errors="replace")
            of_server = page.lstrip()[:1] == "<" or (len(text) < MAX_NOTE_BYTES and not MODELS_TEXT.search(page))
            message = redacted_message(page, self.address.api_key, document) if of_server else ""
            content = f"{len(text):,} bytes" + (f" that say: {message}" if message else "")
            raise Unreachable(f"the reply is no JSON ({type(error).__name__}, {content})") from None

    def _broken(self, error: BaseException) -> Exception:
        """The error of a connection that failed."""
        message = redacted_message(str(error), self.address.api_key)
        if "CERTIFICATE_VERIFY_FAILED" in message:
            return OperatorError(
                f"{self.address.url} shows a certificate that is not trusted here ({message}): "
                "set SSL_CERT_FILE to the file of its authority"
            )
        return Unreachable(
            f"the connection failed ({_of_the_system(error) or f'{type(error).__name__}: {message}'})", broken=True
        )

    async def _list(self) -> HttpReply:
        async with self._openai.models.with_streaming_response.list() as response:
            return await _read(response.iter_bytes(), MAX_REPLY_BYTES), response.headers

    async def _post(self, messages: Any, params: SamplingParams) -> HttpReply:
        async with self._openai.chat.completions.with_streaming_response.create(
            model=self.address.model,
            messages=messages,
            # openai would walk through other arguments, key by key, for each request
            extra_body={**self._body, **self.dialect.parameters(params)},
        ) as response:
            body = await _read(response.iter_bytes(), MAX_REPLY_BYTES)
        if len(body) > MAX_REPLY_BYTES:
            raise ReplyFault(Fault.INVALID, f"the reply is larger than {MAX_REPLY_BYTES:,} bytes")
        return body, response.headers


def _http_client(url: str) -> DefaultAsyncHttpxClient:
    """Raises OperatorError where the environment names a proxy or certificates that can't be used; the message has
    no value of it, for a proxy's password."""
    loopback, certificates = _is_loopback(url), [os.environ.get(name) for name in ENVIRONMENT[:2]]
    options: dict[str, Any] = {"follow_redirects": False, "event_hooks": {"response": [_raise_for_status]}}
    try:
        if loopback and url.startswith("https:"):
            options["verify"] = ssl.create_default_context(cafile=certificates[0], capath=certificates[1])
        return DefaultAsyncHttpxClient(trust_env=not loopback, **options)
    except Exception as error:
        given = ", ".join(name for name in os.environ if name.upper() in ENVIRONMENT)
        reason = error if isinstance(error, OSError | ImportError) else type(error).__name__
        raise OperatorError(
            f"what the environment has as {given} can't be used ({reason}): certificates are files, a proxy is "
            "http://USER:PASSWORD@HOST:PORT, with / and # of the password as %2F and %23"
        ) from None


def _of_the_system(error: BaseException | None) -> str | None:
    """What the operating system says of a connection, behind the libraries' errors; None where it says nothing."""
    if error is None:
        return None
    number = error.errno if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else None
    own = os.strerror(number) if number and number > 0 else None  # a negative one is of the name service
    return _of_the_system(error.__cause__ or error.__context__) or own


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
        try:
            body = await _read(response.aiter_bytes(), MAX_ERROR_BYTES)
        except Unreachable:
            if response.status_code in EXPLAINED_BY_BODY:
                raise
            body = b""
        raise StatusError(response.status_code, body.decode("utf-8", errors="replace"), response.headers)
