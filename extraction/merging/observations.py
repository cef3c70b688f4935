"""Observing: an answer's values, each looked up in the documents that the question was made of, with its
signals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, lru_cache
from itertools import chain, islice
from typing import Any, NamedTuple

from pydantic import BaseModel
from rapidfuzz import fuzz

from extraction.documents import UNKNOWN_COMPANY, KnownCompany, Piece
from extraction.grounding.company_names import company_key, same_company
from extraction.grounding.contacts import country_of_host, website_key
from extraction.grounding.places import country_code, country_key
from extraction.grounding.text_folding import Span
from extraction.grounding.text_search import Text
from extraction.grounding.value_finders import FoundValue, Hints, find_emails, find_websites
from extraction.merging.confidence import MOST_SURE, Calibration, Signals, uncalibrated
from extraction.merging.evidence import Observation, canonical
from extraction.prompting.reply_parsing import Parsed
from extraction.schema.arrow_types import holds
from extraction.schema.merge_rules import Rule
from extraction.schema.profile_model import Field, facts, fields_of_kind, values_of

NO_PLACE = (-1, -1, "")
NEAR_AN_ITEM = 400  # characters to either side of an item in which its parts have to stand: a few lines
MENTIONS = 20  # of the company's name in a piece that distances are measured from
# A number belongs to the name before it: one before a name is as far as one three times as far behind.
BEFORE_A_NAME = 3
AKIN = 0.75  # of an address's letters that stand in the company's name in order, or the reverse


class ReplyValue(NamedTuple):
    """A value of an answer, and the log-probability of its tokens."""

    field: Field
    key: str
    value: Any
    logprob: float | None

    def with_value(self, value: Any) -> "ReplyValue":
        """The same, written otherwise."""
        same = value == self.value
        return self if same else self._replace(value=value, key=self.field.rule.key_of(value) or self.key)


class GroundedValue(NamedTuple):
    """Where a value stands: in which of the source's pieces, and the value as it is borne out there."""

    number: int
    span: Span
    value: ReplyValue


class Seen(NamedTuple):
    """A value in one piece of a chunk, before anything is decided: its observation without a probability."""

    value: ReplyValue
    piece: Piece
    place: tuple[int, int, str]
    signals: Signals

    def observation(self, chunk_id: str, probability: float) -> Observation:
        """The observation of it, with the probability that it is right."""
        return Observation(
            self.value.field.name,
            self.value.key,
            canonical(self.value.value),
            self.piece.document_id,
            chunk_id,
            *self.place,
            self.piece.document_date or "",
            self.piece.document_type or "",
            round(probability, 4),
            not self.signals.given,
        )


class Source:
    """A chunk's pieces as texts to look in."""

    def __init__(self, content: str, pieces: Iterable[Piece]) -> None:
        self.pieces = tuple(pieces)
        self.content = content
        self.texts = tuple(Text(p.text(content)) for p in self.pieces)

    def places(self, value: ReplyValue, quote: str | None) -> list[GroundedValue]:
        """Where a value stands, once in each piece: in the words quoted for it, if it stands there."""
        rule = value.field.rule
        wanted = rule.quote_of(value.value)
        if value.field.number:
            with suppress(ValueError):  # an own serializer may write more than the number
                wanted = float(value.value)
        places = []
        for number, text in enumerate(self.texts):
            quoted = text.find(quote) if quote else None
            span = (quoted and text.find(wanted, within=quoted)) or text.find(wanted)
            if span is None and rule.spellings:
                finds = (text.find_exactly, text.find_in_word)
                spans = (find(spelling) for find in finds for spelling in rule.spellings_of(wanted))
                span = next(filter(None, spans), None)
            if span and (there := _as_written(value, text, span)):
                places.append(GroundedValue(number, span, there))
        return places


class GroundedReply:
    """One answer and its chunk: what it gives, where that stands, and what the text holds by standards.

    abstains: whether it says that the text is about something else than what the profile is. One that does not say
        what it is about is only less sure.
    subject: the log-probability of its word for what the text is about; None where that is something else.
    quotes: the words quoted for each field, by its last name; the last words where there are several.
    values: what it gives, field by field; nothing where it abstains.
    places: for each value that a document can bear out, where it stands; nothing where its standard refuses it.
    grounded: how many of the values that a document can bear out stand in one.
    at: the places by piece and span.
    name: the company's name in the answer: the first of its names that stands in the text.
    company: the key of the known company's name, else of the name in the answer; empty without either.
    is_known: whether its name is that of the known company.
    mentions: for each piece, where the name of the known company stands.
    """

    def __init__(self, parsed: Parsed[BaseModel], source: Source, known: KnownCompany) -> None:
        model, data = type(parsed.profile), parsed.data
        self.source, self.known = source, known
        subjects = fields_of_kind(model, "subject")
        self.abstains = any(value not in f.rule.about for f in subjects for value in values_of(data, f))
        first = () if self.abstains else subjects[:1]
        self.subject = next((score for field in first for _, score in _scored(data, parsed, field)), None)
        quoted = (row for field in fields_of_kind(model, "quotes") for row in values_of(data, field))
        self.quotes = {row["field"]: row["quote"] for row in quoted if row["quote"]}
        self.values: list[ReplyValue] = []
        for field in () if self.abstains else facts(model):
            for value, score in _scored(data, parsed, field):
                if made := _value(field, value, score):
                    self.values.append(made)
        self.places = [
            source.places(value, self.quotes.get(value.field.path[-1]))
            if value.field.rule.verbatim and value.field.rule.accepts(value.value)
            else []
            for value in self.values
        ]
        self.grounded = sum(map(bool, self.places))
        self.at: dict[tuple[int, Span], list[GroundedValue]] = {}
        for place in chain.from_iterable(self.places):
            self.at.setdefault((place.number, place.span), []).append(place)
        named = zip(self.values, self.places, strict=True)
        self.name = next(
            (v for v, places in named if places and v.field.rule.key is company_key and v.field.rule.identifies),
            None,
        )
        given = self.name.key if self.name else ""
        self.company = company_key(known.name) if known.name else given
        self.is_known = bool(known.name and given and same_company(given, self.company))
        self.mentions: list[list[Span]] = [
            list(islice(text.everywhere(known.name), MENTIONS)) if known.name else [] for text in source.texts
        ]

    @cached_property
    def hints(self) -> Hints:
        """The countries that the answer and the addresses in the text name."""
        given = [country_code(v.value) for v in self.values if v.field.rule.key is country_key]
        hosts = [
            country_of_host(value.value)
            for text in self.source.texts
            for find in (find_emails, find_websites)
            for value in find(text.text, Hints())
        ]
        hosts.append(country_of_host(self.known.website or ""))
        return Hints(tuple(dict.fromkeys(filter(None, (*given, *hosts)))))

    def rivals(self, number: int, one: FoundValue, all_: Sequence[tuple[str, FoundValue]]) -> int:
        """How many other values of a finder in a piece may as well be the company's: of a known company that the
        piece names, those that stand at least as near to its name; else all."""
        mentions = self.mentions[number]
        if not mentions:
            return len(all_) - 1
        own = _distance(one, mentions)
        return sum(_distance(other, mentions) <= own for _, other in all_) - 1

    def finder_values(self, field: Field) -> list[list[tuple[str, FoundValue]]]:
        """For each piece, what the field's finder reads in it, with keys; the first place of each."""
        rule = field.rule
        pieces = []
        for text in self.source.texts:
            by_key: dict[str, FoundValue] = {}
            for one in rule.found_in(text.text, self.hints):
                by_key.setdefault(rule.key_of(one.value), one)
            pieces.append([(key, one) for key, one in by_key.items() if key])
        return pieces

    def akin(self, rule: Rule, value: Any) -> bool:
        """Whether a web or mail address is like the company's name."""
        if rule.find not in (find_websites, find_emails):
            return False
        if not self.company:
            return False
        label = website_key(str(value).rpartition("@")[2]).split(".")[0]
        return bool(label) and fuzz.partial_ratio(self.company.replace(" ", ""), label) >= 100 * AKIN

    def outdone(self, place: GroundedValue) -> bool:
        """Whether another field of the answer gives the words of a place at least as surely."""
        here = self.at[place.number, place.span]
        return len(here) > 1 and any(
            other.value.field.name != place.value.field.name
            and (other.value.logprob or 0.0) >= (place.value.logprob or 0.0)
            for other in here
        )


def observe(
    parsed: Parsed[BaseModel],
    chunk_id: str,
    content: str,
    pieces: Iterable[Piece],
    known: KnownCompany = UNKNOWN_COMPANY,
    calibration: Calibration | None = None,
) -> list[Observation]:
    """The observations in one answer; none where it abstains."""
    values = seen(parsed, content, pieces, known)
    return [one.observation(chunk_id, _probability(one, calibration)) for one in values]


def _probability(one: Seen, calibration: Calibration | None) -> float:
    rule, signals = one.value.field.rule, one.signals
    if signals.known and rule.identifies and rule.key is company_key:
        return MOST_SURE  # the input says so
    return calibration.of_chunk(signals, one.value.field.name) if calibration else uncalibrated(signals)


def seen(
    parsed: Parsed[BaseModel], content: str, pieces: Iterable[Piece], known: KnownCompany = UNKNOWN_COMPANY
) -> Iterator[Seen]:
    """What one answer and its text say, a value in each piece in which it stands. Of an answer that abstains
    nothing counts, but what finders read in a piece that names the known company does."""
    answer = GroundedReply(parsed, Source(content, pieces), known)
    if answer.abstains and not known.name:
        return
    finder_values = {field: answer.finder_values(field) for field in facts(type(parsed.profile)) if field.rule.find}
    given: dict[tuple[Field, int], set[str]] = {}
    for value, places in zip(answer.values, answer.places, strict=True):
        if not value.field.rule.verbatim:
            yield from _reading(answer, value)
            continue
        for place in places:
            if value.field in finder_values:
                given.setdefault((value.field, place.number), set()).add(place.value.key)
            yield _of_reply(answer, place, finder_values.get(value.field))
        if not places:  # of no document in particular: the newest, which stands last
            yield Seen(value, answer.source.pieces[-1], NO_PLACE, _ungrounded(answer, value))
    for field, pieces_values in finder_values.items():
        for number, values in enumerate(pieces_values):
            for key, one in values if answer.mentions[number] or not answer.abstains else ():
                if key not in given.get((field, number), ()) and _fits(field, one.value):
                    yield _of_finder(answer, ReplyValue(field, key, one.value, None), number, one, values)


def _of_reply(
    answer: GroundedReply, place: GroundedValue, finder_values: Sequence[Sequence[tuple[str, FoundValue]]] | None
) -> Seen:
    """A value of the model where it stands."""
    value, text, rule = place.value, answer.source.texts[place.number], place.value.field.rule
    piece, (start, end) = answer.source.pieces[place.number], place.span
    here = finder_values[place.number] if finder_values else ()
    same = next((one for key, one in here if key == value.key), None) if here else None
    signals = Signals(
        logprob=value.logprob,
        subject=answer.subject,
        exact=text.text[start:end] == str(rule.quote_of(value.value)),
        grounded=answer.grounded - 1,
        rivals=answer.rivals(place.number, same, here) if same else 0,
        akin=rule.find is not None and answer.akin(rule, value.value),
        outdone=answer.outdone(place),
        known=answer.is_known,
    )
    return Seen(value, piece, piece.cut(answer.source.content, start, end), signals)


def _of_finder(
    answer: GroundedReply, value: ReplyValue, number: int, one: FoundValue, all_: Sequence[tuple[str, FoundValue]]
) -> Seen:
    """A value of a finder where it stands."""
    piece = answer.source.pieces[number]
    signals = Signals(
        subject=answer.subject,
        grounded=answer.grounded,
        given=False,
        rivals=answer.rivals(number, one, all_),
        akin=answer.akin(value.field.rule, one.value),
        known=bool(answer.mentions[number]),
    )
    return Seen(value, piece, piece.cut(answer.source.content, one.start, one.end), signals)


def _ungrounded(answer: GroundedReply, value: ReplyValue) -> Signals:
    """What is known of a value that stands in no document."""
    return Signals(value.logprob, answer.subject, grounded=answer.grounded, known=answer.is_known)


def _distance(value: FoundValue, mentions: Sequence[Span]) -> int:
    """Characters from the nearest mention of the company to a value."""
    return min(max(value.start - end, BEFORE_A_NAME * (start - value.end), 0) for start, end in mentions)


def _reading(answer: GroundedReply, value: ReplyValue) -> Iterator[Seen]:
    """A reading of the model, which stands where its quote does, else nowhere: it is then of all the documents that
    were read for it."""
    quote = answer.quotes.get(value.field.path[-1])
    signals = _ungrounded(answer, value)
    stands = False
    for piece, text in zip(answer.source.pieces, answer.source.texts, strict=True):
        if quote and (span := text.find(quote)):
            stands = True
            yield Seen(value, piece, piece.cut(answer.source.content, *span), signals)
    if not stands:
        of_documents = {piece.document_id: piece for piece in answer.source.pieces}
        yield from (Seen(value, piece, NO_PLACE, signals) for piece in of_documents.values())


def _value(field: Field, value: Any, logprob: float | None) -> ReplyValue | None:
    """A value; None for one that says nothing, or that no column can hold."""
    key = _key_of_text(field, value) if type(value) is str else _key(field, value)
    return ReplyValue(field, key, value, logprob) if key else None


def _key(field: Field, value: Any) -> str:
    return field.rule.key_of(value) if field.rule.quote_of(value) is not None and _fits(field, value) else ""


_key_of_text = lru_cache(maxsize=65_536)(_key)  # documents of one company repeat each other


def _fits(field: Field, value: Any) -> bool:
    """Whether a field's column can hold a value, or an item of its list."""
    return holds(field.type.value_type if field.rule.kind in ("union", "quotes") else field.type, value)


def _as_written(value: ReplyValue, text: Text, span: Span) -> ReplyValue | None:
    """A value as a place bears it out: words the way they are written there, an item without those of its
    parts that do not stand near; None where one of these may not be null."""
    given = value.value
    if given == text.text[span[0] : span[1]]:
        return value
    if isinstance(given, str) and not value.field.number:
        return value.with_value(text.as_written(given, span))
    if not value.field.parts or not isinstance(given, dict):
        return value
    near = Text(text.text[max(0, span[0] - NEAR_AN_ITEM) : span[1] + NEAR_AN_ITEM])
    there = dict(given)
    for name, nullable in value.field.parts:
        if given.get(name) is None:
            continue
        place = near.find(given[name])
        if place is None and not nullable:
            return None
        there[name] = place and near.as_written(given[name], place)
    return value.with_value(there)


def _scored(data: Mapping[str, Any], parsed: Parsed[Any], field: Field) -> Iterator[tuple[Any, float | None]]:
    """The values of a field with their scores; of a structured item the score of what stands for it. An item of a
    list has the score of its equal in the reply: a profile may hold them in another order."""
    values = values_of(data, field)
    if not values:
        return
    scores, given = parsed.scores, parsed.given
    for part in field.path:
        scores = scores.get(part) if isinstance(scores, dict) else None
        given = given.get(part) if isinstance(given, dict) else None
    nodes = scores if isinstance(scores, list) else [scores]
    if isinstance(given, list) and len(given) == len(nodes) and given != values:
        nodes = [next((n for g, n in zip(given, nodes, strict=True) if _alike(g, v, field)), None) for v in values]
    elif len(nodes) != len(values):
        nodes = [None] * len(values)
    for value, scored in zip(values, nodes, strict=True):
        if isinstance(value, dict):
            scored = scored.get(_anchor(value, field), None) if isinstance(scored, dict) else None
        yield value, scored if isinstance(scored, float) else None


def _alike(given: Any, value: Any, field: Field) -> bool:
    """Whether an item of a reply is one of a profile: by what stands for it."""
    if isinstance(given, dict) and isinstance(value, dict):
        anchor = _anchor(value, field)
        return bool(anchor) and given.get(anchor) == value[anchor]
    return bool(given == value)


def _anchor(item: Mapping[str, Any], field: Field) -> str:
    """The attribute that stands for a structured item."""
    return next((part for part in field.rule.anchor if item.get(part) is not None), "")
