"""Parsing of replies: JSON text becomes a profile that the model type accepts, or a fault.

The JSON may stand behind a model's thoughts, in a Markdown fence or between words. A small model may repeat itself
up to its output limit; `loops` recognizes that.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from extraction.errors import Fault
from extraction.prompting.logprobs import mirrored
from extraction.schema.arrow_types import storable

BLANK_RUN = 200  # characters
LOOPS = ((2, 60, 8), (61, 1_000, 4))  # characters from and to, and how often they are said for it to be a loop


def loops(reply: str) -> bool:
    """Whether a reply ends in the same thing said again and again, or in a long blank."""
    if len(reply) >= BLANK_RUN and not reply[-BLANK_RUN:].strip():
        return True
    tail = reply[: -max(longest * times for _, longest, times in LOOPS) - 1 : -1]
    repeated = _repeated(tail)
    return any(
        repeated[length] >= (times - 1) * length and not tail[:length].isspace()
        for shortest, longest, times in LOOPS
        for length in range(shortest, min(longest, len(tail) // times) + 1)
    )


def _repeated(text: str) -> list[int]:
    """For each position, how many characters from there are those that the text begins with (its Z array).

    In linear time. Where that is k times the position itself, the text begins with k + 1 of the same.
    """
    found, left, right = [len(text)] + [0] * (len(text) - 1), 0, 0
    for at in range(1, len(text)):
        same = min(right - at, found[at - left]) if at < right else 0
        while at + same < len(text) and text[same] == text[at + same]:
            same += 1
        if at + same > right:
            left, right = at, at + same
        found[at] = same
    return found


P = TypeVar("P", bound=BaseModel)
P_co = TypeVar("P_co", bound=BaseModel, covariant=True)

MAX_REPLY_CHARACTERS = 200_000
PRUNED = {
    "string_too_long", "too_long", "greater_than_equal", "less_than_equal", "string_too_short",
    "greater_than", "less_than",
}  # fmt: skip
Errors = Sequence[Mapping[str, Any]]
ContainerPath = tuple[int, int | str]  # a container's id, which outlives what moves in it, and an index or key


@dataclass(frozen=True)
class Parsed(Generic[P_co]):
    """A profile, and the scores of its values (see `extraction.prompting.logprobs`) in the shape of the reply's
    JSON, as far as that came to be the profile; None where the server gave none. `span` is where in the reply the
    JSON stands."""

    profile: P_co
    scores: Any = None
    span: tuple[int, int] = (0, 0)


class ReplyFault(Exception):
    """A reply that is no profile. The message holds no text of a document."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"}
GIVEN_UP = {"abort", "aborted", "cancelled", "canceled"}
FILTERED = {
    "content_filter", "content_filtered", "safety", "sensitive", "refusal", "recitation", "prohibited_content",
    "blocklist", "spii", "guardrail_intervened",
}  # fmt: skip
THOUGHTS_END = re.compile(r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|<\|channel\|>final<\|message\|>")
JSON_START = re.compile(r"\s*(?:\{|\[\s*[{\[])")
OBJECT_START = re.compile(r'\{(?=\s*["}])')


def parse(reply: str, finish_reason: str | None, model: type[P], scores: Sequence[float] = ()) -> Parsed[P]:
    """The profile in a reply, which is complete where its JSON is, whatever the finish reason. `scores` has one for
    each leaf of its JSON, or none.

    Raises ReplyFault; whatever the bytes, nothing else.
    """
    if len(reply) > MAX_REPLY_CHARACTERS:
        raise ReplyFault(
            Fault.INVALID, f"the answer has {len(reply):,} characters, more than {MAX_REPLY_CHARACTERS:,}"
        )
    span, broken = (0, len(reply)), ""
    try:
        value = DECODER.decode(reply)
    except (ValueError, RecursionError) as error:
        value, broken = None, _without_text(error)
    if not isinstance(value, dict):
        span = _only_profile(reply, model, cut=bool(broken and JSON_START.match(reply))) or span
        if broken and span == (0, len(reply)):
            raise _unreadable(reply, finish_reason, broken)
        value = DECODER.decode(reply[slice(*span)])
    mirrors: dict[int, Any] = {}
    shaped = mirrored(value, scores, mirrors) if scores else None
    try:
        profile = _validate(value, model, mirrors)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # A key that the model type does not know is the reply's own text.
        known = first["loc"][:-1] if first["type"] == "extra_forbidden" else first["loc"]
        where = ".".join(str(part) for part in known if isinstance(part, int) or part.isidentifier())
        raise ReplyFault(Fault.INVALID, f"the answer is no {model.__name__}: {where}: {first['type']}") from None
    if not storable(profile.model_dump()):
        raise ReplyFault(Fault.INVALID, "the answer holds half a character or a number that no column takes")
    return Parsed(profile, shaped, span)


def _only_profile(reply: str, model: type[BaseModel], *, cut: bool) -> tuple[int, int] | None:
    """Where the one JSON object stands that is a profile; None where there are none or several. What follows a
    model's thoughts counts before them.

    A reply that begins as JSON and may be `cut` has to begin with a whole object: parts of one are no answer.
    """
    if cut and not any(reply[:start].isspace() or not start for _, (start, _) in islice(_objects(reply, 0), 1)):
        return None
    ends = [match.end() for match in THOUGHTS_END.finditer(reply)]
    for begin in (ends[-1], 0) if ends else (0,):
        profiles = [span for value, span in _objects(reply, begin) if _is_profile(value, model)]
        if profiles:
            return profiles[0] if len(profiles) == 1 else None
    return None


def _is_profile(value: Any, model: type[BaseModel]) -> bool:
    try:
        _validate(value, model, {})
    except ValidationError:
        return False
    return True


def _objects(text: str, start: int) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The JSON objects of a text that stand in no other, and where, up to the first that does not end."""
    while match := OBJECT_START.search(text, start):
        try:
            value, start = DECODER.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            return
        if value:
            yield value, (match.start(), start)


def _unreadable(reply: str, finish_reason: str | None, broken: str) -> ReplyFault:
    """The fault of a reply that holds no profile, by the reason for which it ended; `broken` is why it is no
    JSON."""
    reason, length = (finish_reason or "").lower(), f"({len(reply):,} characters)"
    if reason in GIVEN_UP:
        return ReplyFault(Fault.ABORTED, f"the server gave the request up (finish_reason {reason})")
    if reason in CUT_OFF and loops(reply):
        return ReplyFault(Fault.REPETITION, f"the answer repeats itself until its limit {length}")
    if reason in CUT_OFF:
        return ReplyFault(Fault.TRUNCATED, f"the answer was cut at its limit {length}")
    if reason in FILTERED:
        return ReplyFault(Fault.REJECTED, f"the server's content filter refused an answer (finish_reason {reason})")
    if not reply.strip():
        return ReplyFault(Fault.INVALID, f"the answer is empty {length}")
    return ReplyFault(Fault.INVALID, f"the answer is no JSON: {broken} {length}")


def _validate(value: Any, model: type[P], mirrors: dict[int, Any]) -> P:
    """Validate; a value that is only out of bounds is dropped rather than the whole answer.

    The light wire schema leaves lengths and ranges open, so they are met here. More than once, because
    a list that is too long hides what is wrong with its items.
    """
    nulled: set[ContainerPath] = set()
    while True:
        try:
            return model.model_validate(value)
        except ValidationError as error:
            if not _prune(value, error.errors(include_url=False), nulled, mirrors):
                raise


def _prune(value: Any, wrong: Errors, nulled: set[ContainerPath], mirrors: dict[int, Any]) -> bool:
    """Take what errors speak of out of its parent: null, dropped from a list, or a list cut. `mirrors` follow.

    Where this put a null that may not be, the item of a list that holds it goes. False, with the value as it
    was, when one of the errors is of another kind.
    """
    cut: list[tuple[list[Any], int]] = []
    dropped: dict[ContainerPath, list[Any]] = {}
    emptied: dict[ContainerPath, dict[str, Any]] = {}
    for error in wrong:
        path = _path(value, error["loc"])
        parent, key = path[-1] if path else (None, "")
        if (id(parent), key) in nulled:
            path = [step for step in path if isinstance(step[0], list)]
        elif error["type"] not in PRUNED:
            return False
        if not path:
            return False
        parent, key = path[-1]
        if error["type"] == "too_long" and isinstance(parent[key], list):
            cut.append((parent[key], error["ctx"]["max_length"]))
        else:
            (dropped if isinstance(parent, list) else emptied)[id(parent), key] = parent
    for items, length in cut:
        del items[length:]
        del mirrors.get(id(items), [])[length:]
    for (_, key), parent in emptied.items():
        parent[str(key)] = None
    nulled |= set(emptied)
    for (_, key), items in sorted(dropped.items(), key=itemgetter(0), reverse=True):
        del items[int(key)]  # from the back, so that the indices before it stay right
        del mirrors.get(id(items), [None] * (int(key) + 1))[int(key)]
    return True


def _path(value: Any, location: Sequence[int | str]) -> list[tuple[Any, int | str]]:
    """The containers and keys down to an error's place; a location also names the branches of unions."""
    path: list[tuple[Any, int | str]] = []
    for part in location:
        if isinstance(part, int) if isinstance(value, list) else isinstance(value, dict) and part in value:
            path.append((value, part))
            value = value[part]
    return path


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


# Not strict: models write line ends into texts as they are.
DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated)


def _without_text(error: Exception) -> str:
    return f"{error.msg} at {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)[:60]
