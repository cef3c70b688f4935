"""Classifies what is no completion: an HTTP status, headers and body become one error, in the server's words.

Refused         the server refuses this one request; `Fault.TOO_LONG` where a shorter one helps
Unreachable     the server's failure; another attempt may help, perhaps at a time that the server names
OperatorError   a wrong key, an empty account, a redirect: no request can help
"""

import email.utils
import html
import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError
from extraction.prompting.reply_parsing import ReplyFault

MAX_WORDS = 300  # characters of what a server says
ECHO = 12  # so many characters in a row of a document, or of a key, are not repeated in a message
TRANSIENT = (408, 409, 425, 429, 499)  # of the statuses below 500
DEFERRED = (429, 503, 529)
STARTING = (502, 503, 504)  # of a server that is started for the first request
PROXY_STATUSES = (502, 504, 522, 524)
TAGS = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
QUOTED = re.compile(r"""(['"`“‘])(.{2,}?)(['"`”’])""", re.DOTALL)

# vLLM, SGLang, TGI, llama.cpp, TensorRT-LLM, Ollama, LM Studio, nginx; OpenAI, Azure, Anthropic, Google, Mistral,
# Together, Fireworks, Groq, Cohere, Bedrock, Perplexity, DashScope, Moonshot
TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size|limit)|exceed_context|max_model_len|prompt_too_long"
    r"|string_above_max_length|model token limit|`inputs`"
    r"|(?:maximum|max) (?:model|sequence|prompt|input|allowed)\b.{0,20}\blength"
    r"|\b(?:prompt|inputs?|messages|text|string|sequence)\b[^.]{0,60}"
    r"\b(?:too (?:long|large|big)|longer than|larger than|exceeds?|exceeded)\b"
    r"|too many (?:input |prompt |text )?tokens|token count\b[^.]{0,40}\bexceed"
    r"|\b(?:request|payload|body|content|entity)(?: entity| body| size)?(?: is| was)? too (?:large|big|long)"
    r"|\brequest(?: body| \([^)]*\))? exceeds the (?:available|model|max|context|size|length)|request_too_large"
    r"|reduce the (?:length|size|number of tokens)|input length should be",
    re.IGNORECASE,
)
OF_THE_SCHEMA = re.compile(
    r"schema|grammar|\benums?\b|propert(?:y|ies)|nest(?:ed|ing)|regex|pattern|response_format", re.IGNORECASE
)
NO_LENGTH = re.compile(r"deadline|time-?d? ?out|rate limit|quota|policy|overload", re.IGNORECASE)
NO_CREDIT = re.compile(r"insufficient_quota|insufficient (?:credits|balance|funds)", re.IGNORECASE)
TRY_AGAIN = re.compile(
    r"(?:(?:try again|retry) (?:in|after) |retryDelay\W+)((?:\d[\d.]* ?(?:ms|[hms])[a-z]*,? ?)+)", re.IGNORECASE
)
DURATION = re.compile(r"(\d[\d.]*) ?(ms|[hms])[a-z]*", re.IGNORECASE)
UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
RESET = re.compile(r"(?:x-|anthropic-)?ratelimit-(?:reset(?:-(\w+))?|(\w+)-reset)")
EPOCH_S = 1e9  # a larger number of seconds is a moment, not a duration


class Unreachable(Exception):
    """The server sent no completion; another attempt may help. `broken`: the connection failed. `retry_after_s` is
    the time that the server asks to wait."""

    def __init__(
        self,
        message: str,
        fault: Fault = Fault.UNAVAILABLE,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        broken: bool = False,
    ) -> None:
        super().__init__(message)
        self.fault, self.status, self.retry_after_s, self.broken = fault, status, retry_after_s, broken

    @property
    def rate_limited(self) -> bool:
        """Whether the server takes no more requests for now, from anybody with this key."""
        return self.status == 429

    @property
    def deferred(self) -> bool:
        """Whether the server may take the same request later."""
        return self.status in DEFERRED

    @property
    def starting(self) -> bool:
        """Whether it may be that the server is started for the first request."""
        return self.status in STARTING


class Refused(ReplyFault):
    """The server refuses one request, and answers others."""


def classify(
    status: int, text: str, headers: Mapping[str, str], address: ServerAddress, document: str = ""
) -> Exception:
    """The error that an HTTP status stands for. The message has the server's words, without the document's."""
    message = words(text, address.api_key, document)
    says = f". It says: {message}" if message else ""
    if status < 400:
        return OperatorError(
            f"{address.url} sends requests elsewhere (HTTP {status}), and no redirect is followed: "
            "give --endpoint the URL that it leads to"
        )
    if status == 401:
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY{says}")
    if status == 402 or (status == 429 and NO_CREDIT.search(text)):
        return OperatorError(f"{address.url} wants to be paid first (HTTP {status}): top up the account{says}")
    if status == 407:
        return OperatorError(
            f"a proxy refused the request (HTTP {status}): HTTPS_PROXY may hold user:password{says}"
        )
    if is_too_long(status, f"{message} {error_code(text)}"):
        return Refused(Fault.TOO_LONG, f"the request is too long for the server (HTTP {status}){says}")
    if status < 500 and status not in TRANSIENT:
        return Refused(Fault.REJECTED, f"{_refusal(status, text, address)}{says}")
    hint = ", a proxy's: the server behind it did not answer in time" if status in PROXY_STATUSES else ""
    return Unreachable(
        f"the server answered HTTP {status}{hint}" + (f": {message}" if message else ""),
        status=status,
        retry_after_s=retry_after(status, headers, text),
    )


def failed_reply(body: Any, headers: Mapping[str, str], address: ServerAddress, document: str) -> Exception:
    """The error of a reply with status 200 that is none: the server's failure, unless the request is too long."""
    choice = first_choice(body)
    error = choice.get("error") or body
    text = json.dumps(error, ensure_ascii=False)
    message, code = words(text, address.api_key, document) if _message(error) else "", error_code(text)
    if is_too_long(200, f"{message} {code}"):
        return Refused(Fault.TOO_LONG, f"the request is too long for the server. It says: {message}")
    if choice:
        content = f"an answer that ended in {str(choice.get('finish_reason'))[:ECHO]}"
    else:  # keys are the server's words, values may be the model's
        content = f"no choice, only {', '.join(map(str, body)) if isinstance(body, dict) else type(body).__name__}"
    status = int(code) if code.isdecimal() and len(code) == 3 else 200
    return Unreachable(
        f"the server answered HTTP 200 with {content[:MAX_WORDS]}" + (f": {message}" if message else ""),
        status=status,
        retry_after_s=retry_after(status, headers, text),
    )


def first_choice(body: Any) -> dict[str, Any]:
    """The first choice of a reply of any shape; empty where there is none."""
    choices = body.get("choices") if isinstance(body, dict) else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}


def is_too_long(status: int, message: str) -> bool:
    """Whether a refusal says that a shorter request would be taken. A schema that exceeds something is no such
    case, nor is a limit on the tokens of a minute."""
    if status == 429:
        return "request too large" in message.lower()
    if OF_THE_SCHEMA.search(message) and "context" not in message.lower():
        return False
    if NO_LENGTH.search(message):
        return False
    return status == 413 or bool(TOO_LONG.search(message))


def _refusal(status: int, text: str, address: ServerAddress) -> str:
    """A refusal in words: of a model of another name, by a proxy without a server, of the request itself."""
    if status == 404 and "model" in text.lower():
        return (
            f"{address.url} serves no model {address.model!r} (HTTP 404): give --model or VLLM_MODEL a name that "
            f"{address.url}/models lists"
        )
    if status == 404:
        return (
            f"nothing serves {address.url} (HTTP 404): is its pod running? The URL of a pod's proxy changes when "
            "it restarts: look it up and give it as --endpoint, OPENAI_BASE_URL or VLLM_ENDPOINT"
        )
    if status == 403:
        return (
            "the server refused the request (HTTP 403): OPENAI_API_KEY may not use this model, or a firewall or "
            "moderation takes offence"
        )
    return f"the server refused the request (HTTP {status})"


def words(text: str, key: str, document: str = "") -> str:
    """What an error's body says: its message, in one line and bounded, without the key and the document's text."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        message = TAGS.sub(" ", text) if "<" in text else text
        message = html.unescape(message)
    else:
        message = _message(body) or (json.dumps(body, ensure_ascii=False) if body else "")
    message = " ".join("".join(c if c.isprintable() else " " for c in message[: 4 * MAX_WORDS]).split())
    message = without_echo(message, key, max(5, min(ECHO, len(key))))  # `none` and the like is no secret
    message = QUOTED.sub(lambda m: m[1] + ("…" if m[2] in document else m[2]) + m[3], message)
    message = without_echo(message, " ".join(document.split()))
    return message if len(message) <= MAX_WORDS else message[: MAX_WORDS - 1] + "…"


def without_echo(message: str, source: str, least: int = ECHO) -> str:
    """The text with every run of at least so many characters that stands in the source left out."""
    kept, at = [], 0
    while at < len(message):
        length = least
        if message[at : at + least] not in source or at + least > len(message):
            kept.append(message[at])
            at += 1
            continue
        while at + length < len(message) and message[at : at + length + 1] in source:
            length += 1
        kept.append("…")
        at += length
    return "".join(kept)


def _message(body: Any) -> str:
    """The message in a JSON error of any server; empty where there is none."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return "; ".join(filter(None, map(_message, body[:5])))
    if not isinstance(body, dict):
        return ""
    metadata = body.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    named = (
        body.get(name) for name in ("error", "message", "msg", "detail", "errors", "error_description", "title")
    )
    message = next(filter(None, map(_message, named)), "")
    where = body.get("loc")
    if message and isinstance(where, list):
        return f"{'.'.join(map(str, where))}: {message}"
    return f"{message} ({raw})" if isinstance(raw, str) and raw not in message else message


def error_code(text: str) -> str:
    """The code or the type that a JSON error names; empty where it names none."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    body = body[0] if isinstance(body, list) and body else body
    inner = body.get("error") if isinstance(body, dict) else None
    for holder in (inner, body):
        for name in ("code", "status_code", "type", "status"):
            if isinstance(holder, dict) and isinstance(holder.get(name), str | int):
                return str(holder[name])
    return ""


def retry_after(status: int, headers: Mapping[str, str], text: str = "") -> float | None:
    """Seconds until the server takes requests again, as it says; None where it does not."""
    value = _number(headers.get("retry-after-ms"))
    if value is not None:
        return max(0.0, value / 1000)
    seconds = _until(headers.get("retry-after"), headers)
    if status == 429 and seconds is None and (match := TRY_AGAIN.search(text)):
        seconds = _duration(match[1])
    if status == 429 and seconds is None:  # hosted servers send these headers with every reply
        exhausted = [wait for wait, left in _resets(headers) if left == 0]
        seconds = max(exhausted or [wait for wait, _ in _resets(headers)], default=None)
    return None if seconds is None else max(0.0, seconds)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[float, float | None]]:
    """For each limit that the headers name: seconds until it is reset, and what is left of it."""
    for name, value in headers.items():
        match = RESET.fullmatch(name.lower())
        seconds = _until(value, headers) if match else None
        if seconds is not None:
            yield seconds, _number(headers.get(name.lower().replace("reset", "remaining")))


def _until(value: str | None, headers: Mapping[str, str]) -> float | None:
    """Seconds from now to what a header says: seconds, a duration such as 6m0s, an epoch, or a date."""
    if value is None:
        return None
    number = _number(value)
    if number is not None:
        number = number / 1000 if number > 1000 * EPOCH_S else number
        return number - time.time() if number > EPOCH_S else number
    seconds = _duration(value)
    if seconds is not None:
        return seconds
    moment, now = _date(value), _date(headers.get("date", "")) or datetime.now(UTC)
    return (moment - now).total_seconds() if moment else None


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return None if number != number else number


def _duration(value: str) -> float | None:
    parts: Sequence[tuple[str, str]] = DURATION.findall(value)
    if not parts or DURATION.sub("", value).strip(" ,"):
        return None
    try:
        return sum(float(number) * UNIT_SECONDS[unit.lower()] for number, unit in parts)
    except ValueError:
        return None


def _date(value: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        try:
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
