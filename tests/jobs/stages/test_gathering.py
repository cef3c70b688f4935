"""What a company's chunks come to does not depend on the batches in which they are read."""

from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from extraction.chunking.chunker import Chunk
from extraction.documents import Piece
from extraction.grounding.finders import find_emails
from extraction.schema.company import ShortProfile
from extraction.schema.merge_rules import subject, vote
from jobs.stages.reduce import NOT_ASKED, Gathered, gather, observed

EMPTY: dict[str, Any] = {**dict.fromkeys(ShortProfile.model_fields), "products": []}


def pair(number: int, name: str | None) -> tuple[Chunk, dict[str, Any]]:
    """A chunk of the document number modulo 3 and its answer; none where there is no name."""
    text = f"{name} of part {number}"
    piece = Piece(f"d{number % 3}", 0, len(text), 0, len(text), None, None, f"in#{number % 3}")
    reply = ShortProfile.model_validate({**EMPTY, "name": name}).model_dump_json()
    answer = {"replies": [reply], "fault": None, "message": "", "attempts": 1} if name else NOT_ASKED
    return Chunk(f"c{number}", "lund", text, 10, 10, (piece,)), answer


PAIRS = [pair(n, name) for n, name in enumerate(("Lund Lamps", None, "Lund", "Lund Lamps", None, "Lund Lamps AS"))]


@pytest.mark.parametrize("cut", range(len(PAIRS) + 1))
def test_two_batches_come_to_what_one_does(cut: int) -> None:
    whole = gather(ShortProfile, "lund", PAIRS)
    found = gather(ShortProfile, "lund", PAIRS[:cut])
    found.update(gather(ShortProfile, "lund", PAIRS[cut:]))
    assert found == whole
    assert whole.answered == {"d0", "d2"} and set(whole.failed) == {"d1"} and len(whole.missing) == 2


def test_a_stored_answer_that_no_longer_fits_is_a_fault() -> None:
    chunk, answer = PAIRS[0]
    found = gather(ShortProfile, "lund", [(replace(chunk), {**answer, "replies": ['{"name": 3}']})])
    assert found.failed["d0"]["fault"] == "invalid"
    assert found.evidence == Gathered("lund").evidence


class Firm(BaseModel):
    about: Annotated[Literal["firm", "none"], subject("firm")]
    email: Annotated[str | None, vote(find=find_emails)]


@pytest.mark.parametrize(
    ("replies", "found"),
    [
        (['{"about": "firm", "email": null}'], 1),
        (['{"about": "none", "email": null}', '{"about": "firm", "email": null}'], 1),
        (['{"about": "none", "email": null}'], 0),
        (['{"about": "none"}'], None),
    ],
)
def test_what_a_finder_reads_counts_where_an_answer_does_not_abstain(replies: list[str], found: int | None) -> None:
    text = "Write to lund@lamps.example"
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    observations = observed(Firm, Chunk("c", "lund", text, 10, 10, (piece,)), {"replies": replies})
    assert (observations if observations is None else len(observations)) == found
