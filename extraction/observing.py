"""Observing: an answer's values, each looked up in the documents that the question was made of."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from extraction.arrow import storable
from extraction.evidence import Observation, canonical
from extraction.fields import Field, facts, fields
from extraction.grounding import Text, as_written
from extraction.pieces import Piece
from extraction.rules import Rule
from extraction.surroundings import Span

NOWHERE = (-1, -1, "")
NEAR = 400  # characters to either side of an item in which its parts have to stand: a few lines


class Source:
    """A chunk's pieces as texts to look in."""

    def __init__(self, content: str, pieces: Iterable[Piece]) -> None:
        self.pieces = tuple(pieces)
        self.content = content
        self.texts = tuple(Text(p.text(content)) for p in self.pieces)

    def places(self, value: Any, rule: Rule, quote: str | None) -> Iterator[tuple[Piece, Text, Span]]:
        """Where a value stands, once in each piece: in the words quoted for it, if it stands there."""
        for piece, text in zip(self.pieces, self.texts, strict=True):
            where = rule.cues, rule.hints, rule.unless, rule.stands
            quoted = text.find(quote) if quote else None
            span = text.find(value, *where, within=quoted, cased=rule.cased) if quoted else None
            span = span or text.find(value, *where, cased=rule.cased)
            if span is None and rule.spellings:
                found = (text.find_exactly(spelling) for spelling in rule.spellings(value))
                span = next(filter(None, found), None)
            if span:
                yield piece, text, span


def observe(profile: BaseModel, chunk_id: str, content: str, pieces: Iterable[Piece]) -> list[Observation]:
    """The observations in one answer; none where it abstains."""
    if abstains(profile):
        return []
    data = profile.model_dump(mode="json")
    model = type(profile)
    quoted = _quotes(data, model)
    source = Source(content, pieces)
    found: list[Observation] = []
    for field in facts(model):
        for value in _values(data, field):
            if seen := Seen.of(field, value, chunk_id):
                found += _observations(seen, source, quoted.get(field.path[-1]))
    return found


def abstains(profile: BaseModel) -> bool:
    """Whether an answer says that the text is not about what the profile is."""
    subjects = [field for field in fields(type(profile)) if field.rule.kind == "subject"]
    data = profile.model_dump(mode="json", include={field.path[0] for field in subjects}) if subjects else {}
    return any(field.rule.none in _values(data, field) for field in subjects)


class Seen(NamedTuple):
    """A value of a chunk, before it is said where it stands."""

    field: Field
    key: str
    value: Any
    chunk_id: str

    @classmethod
    def of(cls, field: Field, value: Any, chunk_id: str) -> "Seen | None":
        """A value in its form; None for one that says nothing, or that no column can hold."""
        formed = field.rule.form(value) if field.rule.form else value
        if field.rule.quote_of(formed) is None or not storable(formed):
            return None
        key = field.rule.key_of(formed)
        return cls(field, key, formed, chunk_id) if key else None

    def saying(self, value: Any) -> "Seen":
        """The same, written otherwise."""
        same = value == self.value
        return self if same else self._replace(value=value, key=self.field.rule.key_of(value) or self.key)

    def at(self, piece: Piece, place: tuple[int, int, str] = NOWHERE, *, stated: bool = False) -> Observation:
        """The observation of it at a place of a document."""
        return Observation(
            self.field.name,
            self.key,
            canonical(self.value),
            piece.document_id,
            self.chunk_id,
            *place,
            piece.document_date or "",
            piece.document_type or "",
            stated,
        )


def _observations(seen: Seen, source: Source, quote: str | None) -> Iterator[Observation]:
    """One observation for each piece in which the value stands, else one without a place."""
    rule = seen.field.rule
    stands = False
    if not rule.verbatim:
        for piece, text in zip(source.pieces, source.texts, strict=True):
            if quote and (span := text.find(quote)):  # a reading stands where its quote does
                stands = True
                yield seen.at(piece, piece.cut(source.content, *span))
    elif rule.accepts(seen.value):
        for piece, text, span in source.places(rule.quote_of(seen.value), rule, quote):
            there = _as_it_stands(seen, text, span)
            if there:
                stands = True
                yield there.at(piece, piece.cut(source.content, *span))
    if not stands:  # of no document in particular: the newest, which stands last
        yield seen.at(source.pieces[-1])


def _as_it_stands(seen: Seen, text: Text, span: Span) -> Seen | None:
    """A value as a place bears it out: words the way they are written there, an item without those of its
    parts that do not stand near; None where one of these may not be null."""
    value = seen.value
    if isinstance(value, str):
        return seen.saying(as_written(value, text.text[slice(*span)]))
    if not seen.field.parts or not isinstance(value, dict):
        return seen
    near = Text(text.text[max(0, span[0] - NEAR) : span[1] + NEAR])
    there = dict(value)
    for name, nullable in seen.field.parts:
        if value.get(name) is None:
            continue
        place = near.find(value[name])
        if place is None and not nullable:
            return None
        there[name] = place and as_written(value[name], near.text[slice(*place)])
    return seen.saying(there)


def _quotes(data: Mapping[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """The words quoted for each field, by its last name; the last words where there are several."""
    rows = (row for f in fields(model) if f.rule.kind == "quotes" for row in _values(data, f))
    return {row["field"]: row["quote"] for row in rows if row["quote"]}


def _values(data: Mapping[str, Any], field: Field) -> list[Any]:
    """What an answer gives for a field: a list's items, or the one value unless it is null."""
    value: Any = data
    for part in field.path:
        value = value[part] if value is not None else None
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
