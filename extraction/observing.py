"""Observing: an answer's values, each looked up in the documents that the question was made of."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from extraction.evidence import Observation
from extraction.grounding import Span, Text
from extraction.pieces import Piece
from extraction.rules import Field, Rule, fields

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
            quoted = text.find(quote) if quote else None
            span = text.find(value, rule.cues, rule.hints, within=quoted) if quoted else None
            span = span or text.find(value, rule.cues, rule.hints)
            if span is None and rule.spellings:
                found = (text.find_exactly(spelling) for spelling in rule.spellings(value))
                span = next(filter(None, found), None)
            if span:
                yield piece, text, span


def observe(profile: BaseModel, chunk_id: str, content: str, pieces: Iterable[Piece]) -> list[Observation]:
    """The observations in one answer; none where it abstains."""
    data = profile.model_dump(mode="json")
    model = type(profile)
    if any(f.rule.none in _values(data, f) for f in fields(model) if f.rule.kind == "subject"):
        return []
    quoted = _quotes(data, model)
    source = Source(content, pieces)
    found: list[Observation] = []
    for field in fields(model):
        if field.rule.about_answer:
            continue
        for value in _values(data, field):
            formed = field.rule.form(value) if field.rule.form else value
            if field.rule.quote_of(formed) is not None and field.rule.key_of(formed):
                found += _observations(field, formed, chunk_id, source, quoted.get(field.path[-1]))
    return found


def _observations(
    field: Field, value: Any, chunk_id: str, source: Source, quote: str | None
) -> Iterator[Observation]:
    """One observation for each piece in which the value stands, else one without a place."""
    rule = field.rule
    stands = False
    if not rule.verbatim:
        for piece, text in zip(source.pieces, source.texts, strict=True):
            if quote and (span := text.find(quote)):  # a reading stands where its quote does
                stands = True
                yield _observation(field, value, chunk_id, source, piece, span)
    elif rule.accepts(value):
        for piece, text, span in source.places(rule.quote_of(value), rule, quote):
            kept = _with_its_parts(field, value, text, span)
            if kept is not None:
                stands = True
                yield _observation(field, kept, chunk_id, source, piece, span)
    if not stands:
        yield _observation(field, value, chunk_id, source, source.pieces[0], None)


def _with_its_parts(field: Field, value: Any, text: Text, span: Span) -> Any | None:
    """An item with null for those of its parts that do not stand near it; None where one may not be null."""
    if not field.parts or not isinstance(value, dict):
        return value
    near = Text(text.text[max(0, span[0] - NEAR) : span[1] + NEAR])
    kept = dict(value)
    for name, nullable in field.parts:
        if kept.get(name) is not None and near.find(kept[name]) is None:
            if not nullable:
                return None
            kept[name] = None
    return kept


def _quotes(data: Mapping[str, Any], model: type[BaseModel]) -> dict[str, str]:
    """The words quoted for each field, by its last name."""
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


def _observation(
    field: Field, value: Any, chunk_id: str, source: Source, piece: Piece, span: Span | None
) -> Observation:
    start, end, quote = piece.cut(source.content, *span) if span else (-1, -1, "")
    return Observation(
        field=field.name,
        key=field.rule.key_of(value),
        value=json.dumps(value, ensure_ascii=False, sort_keys=True),
        document_id=piece.document_id,
        chunk_id=chunk_id,
        start=start,
        end=end,
        quote=quote,
        document_date=piece.document_date or "",
        document_type=piece.document_type or "",
    )
