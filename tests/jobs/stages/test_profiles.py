"""Whatever a model is given becomes a row that the published table takes."""

import datetime
import json
from enum import IntEnum
from typing import Annotated, Any, Literal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from extraction.chunking.chunker import Chunk
from extraction.documents import Piece
from extraction.merging.evidence import Evidence
from extraction.merging.resolve import resolve
from extraction.prompting.reply_parsing import ReplyFault, parse
from extraction.schema.merge_rules import latest, union, vote
from jobs.stages.reduce import observed
from jobs.state.tables import profile_schema


class Grade(IntEnum):
    FIRST = 1


class Plant(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str
    since: int | None = None
    size: float | None = None


class Works(BaseModel):
    since: int | None = None
    staff: Annotated[float | None, latest()] = None
    name: str | None = None
    day: datetime.date | None = None
    at: datetime.datetime | None = None
    grade: Annotated[Grade | Literal[2, 3] | None, vote(verbatim=False)] = None
    open: bool | None = None
    numbers: set[int] = set()
    rows: list[list[float]] = []
    plants: Annotated[list[Plant], union(anchor=("name", "since"))] = []


WHOLE = st.integers() | st.sampled_from([2**63, 2**63 - 1, -(2**63), 10**30, str(10**30), 1.0, True])
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**53 + 1, 10**30, "1e308", "NaN"])
TEXTS = st.text(max_size=5) | st.sampled_from(["Ulm", "\ud800", "\x00", "NaN"])
DAYS = st.dates().map(str) | st.sampled_from([0, 86400, "1969-12-31"])
TIMES = st.datetimes().map(str) | st.sampled_from([0, -1.5, 86400, "2024-05-01T09:00:00+14:00"])
PLANTS = st.fixed_dictionaries({"name": TEXTS}, optional={"since": WHOLE, "size": NUMBERS, "other": WHOLE | TEXTS})
KINDS: dict[str, st.SearchStrategy[Any]] = {
    "since": WHOLE,
    "staff": NUMBERS,
    "name": TEXTS,
    "day": DAYS,
    "at": TIMES,
    "grade": st.sampled_from([1, 2, 3, 1.0, True]),
    "open": st.booleans() | st.sampled_from([0, 1, "yes"]),
    "numbers": st.lists(WHOLE, max_size=3),
    "rows": st.lists(st.lists(NUMBERS, max_size=3), max_size=3),
    "plants": st.lists(PLANTS, max_size=3),
}
REPLIES = st.fixed_dictionaries({}, optional=KINDS)


def table(text: str, reply: str) -> pa.Table:
    """What is published of a company with one document and one answer."""
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    observations = observed(Works, Chunk("c", "works", text, 10, 10, (piece,)), {"replies": [reply]})
    resolved = resolve(Works, Evidence(observations or ()))
    row = {"company_id": "works", **resolved.values, "documents": ["d"], "chunks_missing": []}
    row |= {"confidence": resolved.confidence}
    row |= {"evidence": resolved.evidence, "conflicts": resolved.conflicts}
    return pa.Table.from_pylist([row], profile_schema(Works))


@settings(deadline=None)
@given(REPLIES)
def test_whatever_is_parsed_is_a_row(reply: dict[str, Any]) -> None:
    try:
        parse(json.dumps(reply), "stop", Works)
    except ReplyFault:
        return
    said = json.dumps(reply)
    assert table(f"{said}\nEmployees: 17", said).num_rows == 1


@pytest.mark.parametrize("said", ["since", "staff", "numbers"])
def test_a_stored_answer_with_a_number_of_any_size_is_a_row(said: str) -> None:
    number = 123456789012345678901234
    reply = json.dumps({said: [number] if said == "numbers" else number})
    (row,) = table(f"It says {number} or {float(number)}.", reply).to_pylist()
    assert row[said] in (None, [], float(number))
