"""Parsing of replies: JSON text becomes a profile that the model type accepts, or a fault.

A small model may repeat itself up to its output limit; `loops` recognizes that.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    JSON, as far as that came to be the profile; None where the server gave none."""

    profile: P_co
    scores: Any = None


class ReplyFault(Exception):
    """A reply that is no profile. The message holds no text of a document."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def parse(reply: str, finish_reason: str | None, model: type[P], scores: Sequence[float] = ()) -> Parsed[P]:
    """The profile in a reply. `scores` has one for each leaf of its JSON, or none.

    Raises ReplyFault; whatever the bytes, nothing else.
    """
    if finish_reason == "abort":
        raise ReplyFault(Fault.ABORTED, "the server gave the request up (finish_reason abort)")
    if finish_reason == "length":
        if loops(reply):
            raise ReplyFault(
                Fault.REPETITION, f"the answer repeats itself until its limit ({len(reply):,} characters)"
            )
        raise ReplyFault(Fault.TRUNCATED, f"the answer was cut at its limit ({len(reply):,} characters)")
    if finish_reason == "content_filter":
        raise ReplyFault(Fault.REJECTED, "the server's content filter refused an answer")
    if len(reply) > MAX_REPLY_CHARACTERS:
        raise ReplyFault(
            Fault.INVALID, f"the answer has {len(reply):,} characters, more than {MAX_REPLY_CHARACTERS:,}"
        )
    try:
        value = json.loads(reply, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated)
    except (ValueError, RecursionError) as error:
        raise ReplyFault(Fault.INVALID, f"the answer is no JSON: {_without_text(error)}") from None
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
    return Parsed(profile, shaped)


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


def _without_text(error: Exception) -> str:
    return f"{error.msg} at {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)[:60]
