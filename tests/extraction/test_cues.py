"""A value counts as a fact of a field only where the text speaks of that field, and where it is valid."""

from typing import Annotated

from pydantic import BaseModel

from extraction.cues import STAFF
from extraction.evidence import Evidence, Observation
from extraction.grounding import Text
from extraction.observing import observe
from extraction.pieces import Piece
from extraction.resolving import resolve
from extraction.rules import vote

FOUNDING = ("founded", "since", "fundac")
TEXT = "In 1999 the kilns went out. The firm was founded in 1987 and employs 240; since 1987 it has sold 240 ovens."


class Firm(BaseModel):
    """A firm with a cued and a validated field."""

    year: Annotated[int | None, vote(cues=FOUNDING)]
    land: Annotated[str | None, vote(valid=str.istitle)]


def seen(firm: Firm, text: str, date: str = "", document: str = "d") -> set[Observation]:
    piece = Piece(document, 0, len(text), 0, len(text), None, date or None, "x")
    return set(observe(firm, f"chunk-of-{document}", text, [piece]))


def test_the_place_beside_the_cue_is_the_one() -> None:
    text = Text("Between 1987 and the war nothing happened in the valley, as far as is known. " + TEXT)
    span = text.find(1987, FOUNDING)
    assert span is not None
    assert text.text[span[0] - 11 : span[1]] == "founded in 1987"
    assert text.find(1987) == (8, 12)


def test_a_number_without_its_cue_is_not_grounded() -> None:
    assert Text("In 1999 the kilns went out.").find(1999, FOUNDING) is None
    assert Text("240 ovens were sold").find(240, STAFF) is None
    assert Text("Somos 240 colaboradores").find(240, STAFF) is not None


def test_cues_are_beginnings_of_words_whatever_their_case_and_accents() -> None:
    assert Text("FUNDAÇÃO: 1952").find(1952, FOUNDING) is not None
    assert Text("a profound change in 1952").find(1952, ("found",)) is None


def test_what_is_not_grounded_is_evidence_and_no_fact() -> None:
    resolved = resolve(Firm, Evidence(seen(Firm(year=1999, land="portugal"), "In 1999 it rained in portugal.")))
    assert resolved.values == {"year": None, "land": None}
    assert {row["field"]: row["grounded"] for row in resolved.evidence} == {"year": False, "land": False}


def test_of_equal_votes_the_newer_document_wins() -> None:
    old = seen(Firm(year=1987, land=None), "Founded in 1987.", "2014-01-01", "old")
    new = seen(Firm(year=1991, land=None), "Founded in 1991.", "2023-01-01", "new")
    assert resolve(Firm, Evidence(old | new)).values["year"] == 1991
    third = seen(Firm(year=1987, land=None), "Founded in 1987.", "2001-01-01", "third")
    assert resolve(Firm, Evidence(old | new | third)).values["year"] == 1987
