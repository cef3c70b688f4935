"""Parsing of replies: JSON text becomes a profile that the model type accepts, or a fault.

The JSON may stand behind a model's thoughts, in a Markdown fence or between words. A small model may repeat itself
up to its output limit; `loops` recognizes that.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import islice, pairwise
from typing import Annotated, Any, Generic, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError, create_model

from extraction.errors import Fault, one_line
from extraction.prompting.logprobs import mirrored
from extraction.prompting.response_schema import complete, misshapen
from extraction.schema.arrow_types import storable
from extraction.schema.profile_model import fields, model_among, options_of

BLANK_RUN = 200  # characters
LOOP = re.compile(r"(.{2,60}?)\1{7}|(.{61,1000}?)\2{3}", re.DOTALL)  # something short eight times, else four times
LONGEST_LOOP = 4_000  # characters


def loops(reply: str) -> bool:
    """Whether a reply ends in the same thing said again and again, or in a long blank."""
    text = reply.rstrip()
    backwards = text[: -LONGEST_LOOP - 1 : -1]
    return len(reply) - len(text) >= BLANK_RUN or LOOP.match(backwards) is not None


P = TypeVar("P", bound=BaseModel)
P_co = TypeVar("P_co", bound=BaseModel, covariant=True)

MAX_REPLY_CHARACTERS = 200_000
MOST_BROKEN = 100  # beginnings of objects in a reply that are none
MOST_TRIED = 200  # values of a reply on which a validator fails, each tried alone
Part = int | str
Parts = list[tuple[Any, Part]]  # the containers and keys down to a place in a reply


@dataclass(frozen=True)
class Parsed(Generic[P_co]):
    """A profile, and the scores of its values (see `extraction.prompting.logprobs`) in the shape of the reply's
    JSON, as far as that came to be the profile; None where the server gave none. `refused` names the values that
    the reply gave and the model did not take, with the reasons. `span` is where in the reply the JSON stands,
    `given` that JSON without what was refused."""

    profile: P_co
    scores: Any = None
    refused: tuple[str, ...] = ()
    span: tuple[int, int] = (0, 0)
    given: Any = None

    @cached_property
    def data(self) -> dict[str, Any]:
        """The profile as it is stored: JSON by the fields' names. A field whose serializer fails is left out."""
        dump = partial(self.profile.model_dump, mode="json", by_alias=False, warnings=False)
        try:
            return dump()
        except Exception:
            model = type(self.profile)
            names = {*model.model_fields, *model.model_computed_fields}
            return dump(exclude={name for name in names if _fails(partial(dump, include={name}))})


class ReplyFault(Exception):
    """A reply that is no profile. The message holds no text of a document."""

    def __init__(self, fault: Fault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


CUT_OFF = {"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"}
GIVEN_UP = {"abort", "aborted", "cancelled", "canceled"}
FILTERED = {
    "content_filter", "content_filtered", "safety", "sensitive", "refusal", "recitation", "prohibited_content",
    "blocklist", "spii", "guardrail_intervened", "blocked",
}  # fmt: skip
LONGEST_REASON = 40  # characters of a finish reason that are told
THINK = r"(?:\w+:)?(?:think|thinking|thought|reasoning|reflection)>"
THOUGHTS = re.compile(rf"\s*(?:<{THINK}|\[THINK\]|◁think▷|<\|channel\|>analysis)", re.IGNORECASE)
THOUGHTS_END = re.compile(
    rf"</{THINK}|\[/THINK\]|◁/think▷|<\|end\|>|<\|channel\|>(?:final|commentary)\b.{{0,80}}?<\|message\|>",
    re.IGNORECASE,
)
REPLY_WORD = re.compile(r"<\|\w*\|>|\s+|(<|[^\s<]+)")  # what is no special token and not blank
JSON_START = re.compile(r"\s*(?:\{|\[\s*[{\[])")
OBJECT_START = re.compile(r'\{(?=\s*["}])')


def parse(
    reply: str, finish_reason: str | None, model: type[P], scores: Sequence[float] = (), *, optional: bool = False
) -> Parsed[P]:
    """The profile in a reply, which is complete where its JSON is, whatever the finish reason. `scores` has one for
    each leaf of its JSON, or none. `optional` says that a reply may leave out what the text does not state.

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
        cut = bool(broken and JSON_START.match(reply))
        thinking = normal_reason(finish_reason) in CUT_OFF
        span = _only_profile(reply, model, cut=cut, thinking=thinking, optional=optional) or span
        if broken and span == (0, len(reply)):
            raise _unreadable(reply, finish_reason, broken)
        value = DECODER.decode(reply[slice(*span)])
    mirrors: dict[int, Any] = {}
    shaped = mirrored(value, scores, mirrors) if scores else None
    if optional:
        complete(value, model, mirrors)
    profile, refused = _judged(value, model, mirrors)
    parsed = Parsed(profile, shaped, tuple(refused), span, value)
    if _fails(lambda: parsed.data):
        raise ReplyFault(Fault.INVALID, f"the answer can't be stored: the serializer of {model.__name__} fails")
    return parsed


def _only_profile(
    reply: str, model: type[BaseModel], *, cut: bool, thinking: bool, optional: bool
) -> tuple[int, int] | None:
    """Where the one JSON object stands that is a profile; None where there are none or several. Of a reply with
    thoughts that is what follows them, if anything does; one that may be `thinking` has to have ended to do so.

    A reply that begins as JSON and may be `cut` has to begin with a whole object: parts of one are no answer.
    """
    if cut and not any(reply[:start].isspace() or not start for _, (start, _) in islice(_objects(reply, 0), 1)):
        return None
    ends = [match.end() for match in THOUGHTS_END.finditer(reply)]
    if thinking and not ends and THOUGHTS.match(reply):
        return None
    last_word = max((match.end() for match in REPLY_WORD.finditer(reply) if match[1]), default=0)
    begin = max((end for end in ends if end < last_word), default=0)
    profiles = [span for value, span in _objects(reply, begin) if _is_profile(value, model, optional)]
    return profiles[0] if len(profiles) == 1 else None


def _is_profile(value: Any, model: type[BaseModel], optional: bool) -> bool:
    if optional:
        complete(value, model, {})
    try:
        _judged(value, model, {})
    except ReplyFault:
        return False
    return True


def _objects(text: str, start: int) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The JSON objects of a text that stand in no other, and where. What is no JSON is passed over as far as it is
    read, so that parts of an object without end are none."""
    broken = 0
    while broken < MOST_BROKEN and (match := OBJECT_START.search(text, start)):
        try:
            value, start = DECODER.raw_decode(text, match.start())
        except json.JSONDecodeError as error:
            start, broken = max(error.pos, match.start() + 1), broken + 1
            continue
        except (ValueError, RecursionError):
            return
        if value:
            yield value, (match.start(), start)


def normal_reason(finish_reason: str | None) -> str:
    """A finish reason as most servers write it: `content_filter` for `content-filter: SPII`."""
    return re.split(r"[:\s]", (finish_reason or "").strip().lower())[0].replace("-", "_")


def _unreadable(reply: str, finish_reason: str | None, broken: str) -> ReplyFault:
    """The fault of a reply that holds no profile, by the reason for which it ended; `broken` is why it is no
    JSON."""
    reason, length = normal_reason(finish_reason), f"({len(reply):,} characters)"
    ended_with = f"finish_reason {one_line(finish_reason or 'none')[:LONGEST_REASON]}"
    if reason in GIVEN_UP:
        return ReplyFault(Fault.ABORTED, f"the server gave the request up ({ended_with})")
    if reason in CUT_OFF and loops(reply):
        return ReplyFault(Fault.REPETITION, f"the answer repeats itself until its limit {length}")
    if reason in CUT_OFF:
        return ReplyFault(Fault.TRUNCATED, f"the answer was cut at its limit {length}")
    if reason in FILTERED:
        return ReplyFault(Fault.REJECTED, f"the server's content filter refused an answer ({ended_with})")
    if not reply.strip():
        return ReplyFault(Fault.INVALID, f"the answer is empty ({len(reply):,} characters, {ended_with})")
    return ReplyFault(Fault.INVALID, f"the answer is no JSON: {broken} ({len(reply):,} characters, {ended_with})")


class Refusal(NamedTuple):
    """A place in a reply that the model refuses, as pydantic names it, and why: a kind of error. `limit` is that of
    what is too long."""

    place: tuple[Part, ...]
    kind: str
    limit: int | None = None


def _judged(value: Any, model: type[P], mirrors: dict[int, Any]) -> tuple[P, list[str]]:
    """The profile of a reply, and what of the reply the model refused. Raises ReplyFault.

    What the schema that is sent can't ask for (bounds, patterns, dates, validators) costs the value, not the reply:
    it becomes null, or else the field's default, or the item that holds it goes. A field of the profile that may be
    neither is null all the same, as it is in a column, unless a validator can't do without it. More than once,
    because one error hides another.
    """
    refused: list[str] = []
    first: Refusal | None = None
    touched: set[int] = set()  # containers from which something was taken
    while True:
        profile, refusals = _validated(value, model)
        if profile is not None:
            return profile, refused
        paths = [_path(value, refusal.place) for refusal in refusals]
        if longer := [(p, r) for p, r in zip(paths, refusals, strict=True) if p and _is_longer(p, r)]:
            for steps, refusal in longer:
                refused.append(_named(steps, refusal))
                items = steps[-1][0][steps[-1][1]]
                del items[refusal.limit :]
                del mirrors.get(id(items), [])[refusal.limit :]
            continue
        if first is None and (wrong := misshapen(value, model)) is not None:
            raise _invalid(model, next((r for r in refusals if r.place[: len(wrong)] == wrong), refusals[0]))
        first = first or refusals[0]
        places = {tuple(key for _, key in p): (p, r) for p, r in zip(paths, refusals, strict=True) if p}
        ordered = sorted(places)  # what is within a place follows it
        inner = [place for place, after in pairwise([*ordered, ()]) if after[: len(place)] != place]
        if not inner:
            raise _invalid(model, first)
        for place in reversed(inner):  # from the back, so that the indices before it stay right
            steps, refusal = places[place]
            parent, key = steps[-1]
            if parent[key] is not None and id(parent[key]) not in touched:
                refused.append(_named(steps, refusal))
            if parent[key] is None and any(place == field.path for field in fields(model)):
                model = _spared(model, place)
            touched.add(id(parent))
            _take_out(parent, key, mirrors)


def _is_longer(steps: Parts, refusal: Refusal) -> bool:
    """Whether a refused value is a list that can be cut: a validator may have made one of another value."""
    value = steps[-1][0][steps[-1][1]]
    return refusal.kind == "too_long" and isinstance(value, list) and len(value) > (refusal.limit or len(value))


@lru_cache(maxsize=256)
def _spared(model: type[P], place: tuple[str, ...]) -> type[P]:
    """A profile model one field of which may be left out: it is null then, if it has no default."""
    name, inner = place[0], place[1:]
    info = model.model_fields[name]
    if not inner and not info.is_required():
        return model
    annotation: Any = info.annotation
    if inner and (part := model_among(options_of(annotation))):
        annotation = _spared(part, inner)
    kind = Annotated[(annotation, *info.metadata)] if info.metadata else annotation
    made: Any = {name: (kind, ... if inner else None)}
    spared: type[P] = create_model(model.__name__, __base__=model, **made)
    return spared


def _invalid(model: type[BaseModel], refusal: Refusal) -> ReplyFault:
    """The fault of a reply that has too little left. A key that the model does not know is the reply's own text."""
    known = refusal.place[:-1] if refusal.kind == "extra_forbidden" else refusal.place
    where = ".".join(str(part) for part in known if isinstance(part, int) or part.isidentifier())
    return ReplyFault(Fault.INVALID, f"the answer is no {model.__name__}: {where}: {refusal.kind}")


def _named(steps: Parts, refusal: Refusal) -> str:
    """The field that a refusal is about, and its kind."""
    return f"{'.'.join(key for _, key in steps if isinstance(key, str))}: {refusal.kind}"


def _take_out(parent: Any, key: Part, mirrors: dict[int, Any]) -> None:
    """Take a value out of a reply: an item from its list; else it becomes null, and if that is refused, what the
    model has by default."""
    if isinstance(parent, dict) and parent[key] is not None:
        parent[key] = None
        return
    del parent[key]
    scores = mirrors.get(id(parent))
    if scores is not None:
        del scores[key]


def _validated(value: Any, model: type[P]) -> tuple[P | None, list[Refusal]]:
    """The profile, or what is refused. A reply is judged as the JSON that it is, so that strict models take dates
    and enums; by the fields' names, which are asked for, or by aliases. Whatever a validator raises is about a
    value."""
    if not storable(value):
        return None, [Refusal(place, "no_column_holds_it") for place, leaf in _leaves(value) if not storable(leaf)]
    try:
        return model.model_validate_json(json.dumps(value), by_alias=True, by_name=True), []
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False)
        return None, [Refusal(e["loc"], e["type"], e.get("ctx", {}).get("max_length")) for e in errors]
    except Exception:
        return None, _raising(value, model)


def _raising(value: Any, model: type[BaseModel]) -> list[Refusal]:
    """The leaves of a reply on which a validator raises what pydantic takes for no error of a value: those that it
    can't have beside the others. The whole reply where it raises without any."""
    leaves = [place for place, _ in _leaves(value)]
    out = set(leaves)
    if kind := _raised(value if len(leaves) > MOST_TRIED else _without(value, out), model):
        return [Refusal((), kind)]
    refusals = []
    for place in leaves:
        out.remove(place)
        if kind := _raised(_without(value, out), model):
            out.add(place)
            refusals.append(Refusal(place, kind))
    return refusals


def _raised(value: Any, model: type[BaseModel]) -> str | None:
    """The kind of exception that a validator raises on a reply, if it raises one."""
    try:
        model.model_validate_json(json.dumps(value), by_alias=True, by_name=True)
    except ValidationError:
        return None
    except Exception as error:
        return type(error).__name__
    return None


def _leaves(value: Any, place: tuple[Part, ...] = ()) -> Iterator[tuple[tuple[Part, ...], Any]]:
    """The values of a reply that hold no others, with their places."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if inner is None:
        yield place, value
    else:
        for key, part in inner:
            yield from _leaves(part, (*place, key))


def _without(value: Any, out: Set[tuple[Part, ...]], place: tuple[Part, ...] = ()) -> Any:
    """A copy of a reply without some of its leaves."""
    if isinstance(value, dict):
        return {k: _without(v, out, (*place, k)) for k, v in value.items() if (*place, k) not in out}
    if isinstance(value, list):
        return [_without(v, out, (*place, n)) for n, v in enumerate(value) if (*place, n) not in out]
    return value


def _fails(function: Callable[[], object]) -> bool:
    try:
        function()
    except Exception:
        return True
    return False


def _path(value: Any, location: Sequence[Part]) -> Parts:
    """The containers and keys down to an error's place; a location also names the branches of unions."""
    path: Parts = []
    for part in location:
        inside = range(len(value)) if isinstance(value, list) else value if isinstance(value, dict) else ()
        if part in inside:
            path.append((value, part))
            value = value[part]
    return path


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key stands twice")
    return values


# Not strict: models write line ends into texts as they are.
DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeated)


def _without_text(error: Exception) -> str:
    return f"{error.msg} at {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)[:60]
