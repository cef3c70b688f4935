"""Replies into profiles: nothing that a server sends gets past here unless the model type accepts it."""

import json
import re
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from extraction.errors import Fault

P = TypeVar("P", bound=BaseModel)

MAX_REPLY_CHARACTERS = 200_000
PRUNED = {
    "string_too_long", "too_long", "greater_than_equal", "less_than_equal", "string_too_short",
    "greater_than", "less_than",
}  # fmt: skip
LOOP = re.compile(r"(.{2,60}?)\1{7,}\s*.{0,60}$", re.DOTALL)


class ReplyFault(Exception):
    """A reply that is no profile. The message holds no text of a document."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


def parse(reply: str, finish_reason: str | None, model: type[P]) -> P:
    """The profile in a reply. Raises ReplyFault; whatever the bytes, nothing else."""
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
    try:
        return _validate(value, model)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part.isidentifier())
        raise ReplyFault(
            Fault.INVALID, f"the answer is no {model.__name__}: {where}: {first['type']}"
        ) from None


def loops(reply: str) -> bool:
    """Whether a reply ends in something short said eight times and more."""
    return LOOP.search(reply[-4_000:]) is not None or not reply[-200:].strip()


def _validate(value: Any, model: type[P]) -> P:
    """Validate; a value that is only out of bounds is dropped rather than the whole answer.

    The light wire schema leaves lengths and ranges open, so they are met here.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False)
        if any(e["type"] not in PRUNED for e in wrong):
            raise
        # From the back, so that indices of earlier items in the same list stay right.
        for e in sorted(wrong, key=lambda e: [str(p).zfill(9) for p in e["loc"]], reverse=True):
            _prune(value, e)
        return model.model_validate(value)


def _prune(value: Any, error: Any) -> None:
    """Take the value that an error speaks of out of its parent: null, dropped from a list, or a list cut."""
    *parents, last = [p for p in error["loc"] if isinstance(p, int) or p in _keys(value, error["loc"])]
    for part in parents:
        value = value[part]
    if error["type"] == "too_long" and isinstance(value[last], list):
        del value[last][error["ctx"]["max_length"] :]
    elif isinstance(value, list):
        del value[last]
    else:
        value[last] = None


def _keys(value: Any, location: tuple[int | str, ...]) -> set[str]:
    """The object keys along a location, which also names the branches of unions."""
    found: set[str] = set()
    for part in location:
        if isinstance(value, dict) and part in value:
            found.add(str(part))
            value = value[part]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _without_text(error: Exception) -> str:
    return f"{error.msg} at {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)[:60]
