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
from functools import lru_cache
from typing import Any

from actors.servers.supervisor import ServerAddress
from extraction.errors import Fault, OperatorError, one_line
from extraction.prompting.reply_parsing import ReplyFault

MAX_WORDS = 300  # characters of what a server says that are told
MAX_JUDGED = 4 * MAX_WORDS  # and that are read
ECHO = 12  # so many characters in a row of a document, or of a key, are not repeated in a message
LONG_ECHO = 60  # so many are the document's, not the server's, when a message is judged
TRANSIENT = (408, 409, 424, 425, 429, 499)  # of the statuses below 500
DEFERRED = (429, 503, 529)
STARTING = (502, 503, 504)  # of a server that is started for the first request
PROXY_STATUSES = (502, 504, 522, 524)
TAGS = re.compile(r"<(script|style|head)\b.*?</\1\s*>|<[^>]*>", re.IGNORECASE | re.DOTALL)
QUOTED = re.compile(r"""(['"`“‘])(.{2,}?)(['"`”’])""", re.DOTALL)
ESCAPED = re.compile(
    r"(?=[\\%])(?:((?:\\+u[0-9a-f]{4})+)|((?:(?:\\+x|%)[0-9a-f]{2})+)|\\+([nrt\"'/]))", re.IGNORECASE
)

# vLLM, SGLang, TGI, llama.cpp, TensorRT-LLM, Ollama, LM Studio, nginx; OpenAI, Azure, Anthropic, Google, Mistral,
# Together, Fireworks, Groq, Cohere, Bedrock, Perplexity, DashScope, Moonshot
TOO_LONG = re.compile(
    r"context[ _-]?(?:length|window|size|limit)|exceed_context|max_model_len|prompt_too_long"
    r"|string_above_max_length|model token limit|`inputs`"
    r"|(?:maximum|max) (?:model|sequence|prompt|input|allowed)\b.{0,20}\blength"
    r"|\b(?:prompt|inputs?|messages|text|string|sequence)\b[^.]{0,60}"
    r"\b(?:too (?:long|large|big)|longer than|larger than|exceeds?|exceeded)\b"
    r"|too many (?:input |prompt |text )?tokens|token count\b[^.]{0,40}\b(?:exceed|only supports)"
    r"|token limit exceeded: \d|max tokens of \d+ exceeded|prompt tokens\b.{0,40}\b(?:less|shorter) than"
    r"|\b(?:prompt|input|sequence) length\b.{0,20}(?:\b(?:greater|more) than|>)|\bprompt_len"
    r"|max_(?:num_tokens|seq_?len|input_len)|session[ _]len|enough memory to handle|more kv cache|超长"
    r"|(?:messages|prompt|inputs?)\b\S*: (?:string should have|ensure this value has) at most \d+ char"
    r"|expected maxlength|length limit exceeded|\b(?:request|payload|body)(?: payload| body)? size\b.{0,20}\bexceed"
    r"|\b(?:request|payload|body|content|entity)(?: entity| body| size)?(?: is| was)? too (?:large|big|long)"
    r"|\brequest(?: body| \([^)]*\))? exceeds the (?:available|model|max|context|size|length)|request_too_large"
    r"|reduce the (?:length|size|number of tokens)|input length should be",
    re.IGNORECASE,
)
OF_THE_SCHEMA = re.compile(
    r"schema|grammar|\benums?\b|propert(?:y|ies)|nest(?:ed|ing)|regex|pattern|response_format", re.IGNORECASE
)
OF_THE_CONTEXT = re.compile(r"context[ _-]?(?:length|window|size|limit)", re.IGNORECASE)
NO_LENGTH = re.compile(r"deadline|time-?d? ?out|rate limit|quota|policy|overload", re.IGNORECASE)
NO_CREDIT = re.compile(r"insufficient_quota|insufficient (?:credits|balance|funds)", re.IGNORECASE)
TRY_AGAIN = re.compile(
    r"(?:(?:try again|retry) (?:in|after) |retryDelay\W+)((?:\d[\d.]* ?[hms][a-z]*,? ?)+)", re.IGNORECASE
)
TOO_FAST = re.compile(r"throttl|(?<![a-z])rate.?(?:limit|exceeded)|resource_exhausted|overloaded", re.IGNORECASE)
DURATION = re.compile(r"(\d[\d.]*) ?(ms|milli|[hms])[a-z]*", re.IGNORECASE)
UNIT_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
RESET = re.compile(r"(?:\w+-)?rate-?limit-(?:reset(?:-[\w-]+)?|[\w-]+-reset)")
POLICY = re.compile(r"\b(?:(?:remaining|r)=(?P<left>[\d.]+)|(?:reset|t)=(?P<wait>[\d.]+))")  # of RateLimit
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
    message, judged = redacted_message(text, address.api_key, document), text_to_classify(text, document)
    says = f". It says: {message}" if message else ""
    if status < 400:
        return OperatorError(
            f"{address.url} sends requests elsewhere (HTTP {status}), and no redirect is followed: "
            "give --endpoint the URL that it leads to"
        )
    if status == 401:
        return OperatorError(f"{address.url} refused the key (HTTP {status}): set OPENAI_API_KEY{says}")
    if status == 402 or (status == 429 and NO_CREDIT.search(judged)):
        return OperatorError(f"{address.url} wants to be paid first (HTTP {status}): top up the account{says}")
    if status == 407:
        return OperatorError(
            f"a proxy refused the request (HTTP {status}): HTTPS_PROXY may hold user:password{says}"
        )
    if is_too_long(status, judged):
        return Refused(Fault.TOO_LONG, f"the request is too long for the server (HTTP {status}){says}")
    meant = _effective_status(status, judged, document)
    if meant < 500 and meant not in TRANSIENT:
        return Refused(Fault.REJECTED, f"{_refusal(status, judged, address)}{says}")
    hint = ", a proxy's: the server behind it did not answer in time" if status in PROXY_STATUSES else ""
    return Unreachable(
        f"the server answered HTTP {status}{hint}" + (f": {message}" if message else ""),
        status=meant,
        retry_after_s=retry_after(meant, headers, text),
    )


def _effective_status(status: int, judged: str, document: str) -> int:
    """A status, or 429 for a refusal that is only for now."""
    if status >= 500 or status in TRANSIENT or not TOO_FAST.search(judged):
        return status
    return 429 if TOO_FAST.search(_without_quotes(judged, _folded(_plain(document)))) else status


def failed_reply(body: Any, headers: Mapping[str, str], address: ServerAddress, document: str) -> Exception:
    """The error of a reply with status 200 that is none: the server's failure, unless the request is too long."""
    choice = first_choice(body)
    error = choice.get("error") or body
    text = json.dumps(error, ensure_ascii=False)
    message, codes = redacted_message(text, address.api_key, document) if _message(error) else "", error_codes(text)
    judged = text_to_classify(text, document) if message else " ".join(codes)
    if is_too_long(200, judged):
        return Refused(Fault.TOO_LONG, f"the request is too long for the server. It says: {message}")
    if choice:
        content = f"an answer that ended in {one_line(str(choice.get('finish_reason')))[:ECHO]}"
    else:  # keys are the server's words, values may be the model's
        content = f"no choice, only {', '.join(map(str, body)) if isinstance(body, dict) else type(body).__name__}"
    status = next((int(code) for code in codes if code.isdecimal() and len(code) == 3), 200)
    status = _effective_status(status, judged, document)
    return Unreachable(
        f"the server answered HTTP 200 with {one_line(content)[:MAX_WORDS]}" + (f": {message}" if message else ""),
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
    if OF_THE_SCHEMA.search(message) and not OF_THE_CONTEXT.search(message):
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


def redacted_message(text: str, key: str, document: str = "") -> str:
    """What an error's body says: its message, in one line and bounded, without the key and the document's text."""
    message, document = _extracted(text), _folded(_plain(document))
    message = redacted(message, key, max(5, min(ECHO, len(key))))  # `none` and the like is no secret
    return one_line(redacted(_without_quotes(message, document), document), MAX_WORDS)


def text_to_classify(text: str, document: str) -> str:
    """What an error's body is judged by: its message and its codes, without long passages of the document. Short
    ones stay, because a document may hold the server's words too."""
    return " ".join([redacted(_extracted(text), _plain(document), LONG_ECHO), *error_codes(text)])


def _without_quotes(message: str, folded: str) -> str:
    """A message without what it quotes from a document."""
    return QUOTED.sub(lambda m: m[1] + ("…" if _folded(m[2]) in folded else m[2]) + m[3], message)


def _extracted(text: str) -> str:
    """The message in an error's body, or all of a body that has none; as plain text, and bounded."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        message = TAGS.sub(" ", text) if "<" in text else text
    else:
        message = _message(body) or (json.dumps(body, ensure_ascii=False) if body else "")
    return _plain(message[:MAX_JUDGED])


@lru_cache(maxsize=4)  # of the document, for each way of reading an error
def _plain(text: str) -> str:
    """A text in one line, without the escapes of HTML, JSON, URLs and Python."""
    return one_line(ESCAPED.sub(_unescaped, html.unescape(text)))


def _unescaped(match: re.Match[str]) -> str:
    utf16, utf8, sign = match.groups()
    if utf16:
        return bytes.fromhex(re.sub(r"\\+u", "", utf16, flags=re.IGNORECASE)).decode("utf-16-be", "replace")
    if utf8:
        return bytes.fromhex(re.sub(r"\\+x|%", "", utf8, flags=re.IGNORECASE)).decode("utf-8", "replace")
    return sign if sign in "\"'/" else " "


def _folded(text: str) -> str:
    """A text in which upper and lower case are the same, as long as before."""
    folded = text.casefold()  # makes some characters two, and none fewer
    return folded if len(folded) == len(text) else "".join(f if len(f := c.casefold()) == 1 else c for c in text)


def redacted(message: str, source: str, least: int = ECHO) -> str:
    """The text with every run of at least so many characters that stands in the source left out; upper and lower
    case are the same."""
    kept, at = [], 0
    folded, source = _folded(message), _folded(source)
    while at < len(message):
        length = least
        if folded[at : at + least] not in source or at + least > len(message):
            kept.append(message[at])
            at += 1
            continue
        while at + length < len(message) and folded[at : at + length + 1] in source:
            length += 1
        kept.append("…")
        at += length
    return "".join(kept)


MESSAGE_NAMES = (
    "error", "message", "msg", "detail", "errors", "error_description", "title",
    "Message", "error_msg", "status_msg", "base_resp", "reason",
)  # fmt: skip
CODE_NAMES = ("code", "status_code", "type", "status", "__type", "error_code")


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
    message = next(filter(None, map(_message, map(body.get, MESSAGE_NAMES))), "")
    where = body.get("loc")
    if message and isinstance(where, list):
        return f"{'.'.join(map(str, where))}: {message}"
    return f"{message} ({raw})" if isinstance(raw, str) and raw not in message else message


def error_codes(text: str) -> list[str]:
    """The codes and types that a JSON error names."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return []
    body = body[0] if isinstance(body, list) and body else body
    holders = (body.get("error"), body) if isinstance(body, dict) else ()
    codes = (holder.get(name) for holder in holders if isinstance(holder, dict) for name in CODE_NAMES)
    return [one_line(str(code))[:LONG_ECHO] for code in codes if isinstance(code, str | int)]


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
        if name.lower() == "ratelimit":
            for policy in value.split(",") if ";" in value else [value]:
                given = {match.lastgroup: _number(match[match.lastgroup or 0]) for match in POLICY.finditer(policy)}
                if (wait := given.get("wait")) is not None:
                    yield wait, given.get("left")
        match = RESET.fullmatch(name.lower())
        seconds = _until(value, headers) if match else None
        if seconds is not None:
            yield seconds, _number(headers.get(name.lower().replace("reset", "remaining")))


def _until(value: str | None, headers: Mapping[str, str]) -> float | None:
    """Seconds from now to what a header says: seconds, a duration such as 6m0s, an epoch, or a date."""
    if value is None:
        return None
    numbers = [_number(part) for part in value.split(",")]  # a header that came twice
    number = max((n for n in numbers if n is not None), default=None) if None not in numbers else None
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
