"""Finding: what the documents of a chunk state in words that need no model, whatever it makes of them."""

from collections.abc import Iterable, Iterator
from functools import cache

from pydantic import BaseModel

from extraction.captions import Captions, by_first_word, taken
from extraction.evidence import Observation
from extraction.fields import Field, facts
from extraction.observing import Seen
from extraction.pieces import Piece
from extraction.sentences import Phrase, said

BEGINNING = 20  # characters: a document may begin with white space


def found(model: type[BaseModel], chunk_id: str, content: str, pieces: Iterable[Piece]) -> Iterator[Observation]:
    """The observations of values that captions and phrases name: each is valid, and stands where it says."""
    captions, phrases = _captions(model), _phrases(model)
    for piece in pieces if captions or phrases else ():
        text = piece.text(content)
        begins = piece.start < BEGINNING
        for field, value in (*taken(text, captions, begins=begins), *said(text, phrases)):
            seen = _seen(field, value.value, chunk_id)
            if seen:
                yield seen.at(piece, piece.cut(content, value.start, value.end), stated=True)


def _seen(field: Field, value: object, chunk_id: str) -> Seen | None:
    """A value as a model could have given it; None for one that is not of the field's type or kind."""
    fitting = field.fitted(value)
    seen = Seen.of(field, fitting, chunk_id) if fitting is not None else None
    return seen if seen and field.rule.accepts(seen.value) else None


@cache
def _captions(model: type[BaseModel]) -> Captions:
    return by_first_word((caption, field) for field in facts(model) for caption in field.rule.captions)


@cache
def _phrases(model: type[BaseModel]) -> tuple[tuple[Phrase, Field], ...]:
    return tuple((phrase, field) for field in facts(model) for phrase in field.rule.phrases)
