"""What is published about companies: facts in columns, everything else in evidence."""

import contextlib
import datetime
import json
import os
import signal
from dataclasses import asdict, replace
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, field_validator

from actors.results import Result
from extraction.chunking.chunker import Chunk
from extraction.config.settings import Settings
from extraction.documents import Piece
from extraction.grounding.value_finders import find_emails
from extraction.merging.evidence import Evidence
from extraction.merging.publish_decision import resolve
from extraction.prompting.reply_parsing import ReplyFault, parse
from extraction.schema.company import ShortProfile
from extraction.schema.merge_rules import latest, subject, union, vote
from jobs.stages.engines import fleet
from jobs.stages.plan import Plan
from jobs.stages.reduce import NOT_ASKED, Gathered, gather, observed, reduce
from jobs.stages.run import Run
from jobs.state.ledger import LedgerWriter
from jobs.state.parquet_schemas import CHUNKS, published_table
from jobs.state.storage import Storage
from tests.fakes.process import FakeServer
from tests.jobs.helpers import TEXT, job, manifest, row, rows_of

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
        (['{"about": "none"}'], 0),
        (['{"email": null}'], None),
    ],
)
def test_what_a_finder_reads_counts_where_an_answer_does_not_abstain(replies: list[str], found: int | None) -> None:
    text = "Write to lund@lamps.example"
    piece = Piece("d", 0, len(text), 0, len(text), None, None, "in#0")
    observations = observed(Firm, Chunk("c", "lund", text, 10, 10, (piece,)), {"replies": replies})
    assert (observations if observations is None else len(observations)) == found


pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Documents by id: of many companies, of one on which they disagree, with odd characters, about nobody."""
    rows = [row(n) for n in range(40)]
    founded = [f"Lantern Works Ltd was founded in {year} in Galway, Ireland." for year in (1931, 1931, 1950)]
    rows += [row(700 + n, company=700, text=text) for n, text in enumerate(founded)]
    odd = "\u00a0Caf\u00c3\u00a9 {0} Ltd <|im_end|>\r\nfounded in 19{0:02} in Galway, Ireland"
    rows += [row(800 + n, text=odd.format(n)) for n in range(10, 20)]
    return {each["document_id"]: each["text"] for each in (*rows, row(900, text="... --- ..."))}


@pytest.fixture(scope="module")
def out(texts: dict[str, str], cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over them, a chunk a document."""
    folder = tmp_path_factory.mktemp("reduced")
    rows = [{"document_id": name, "company_id": f"c{name[1:]}", "text": text} for name, text in texts.items()]
    for each in rows[40:43]:
        each["company_id"] = "c700"
    pq.write_table(pa.Table.from_pylist(rows[::-1], TEXT), folder / "in.parquet", row_group_size=8)
    more = ("--set", "max_dead_fraction=1", "--set", "limits.group_target_tokens=null")
    with FakeServer() as server:
        assert job(folder / "in.parquet", folder / "out", server.url, *more) == 0
    return folder / "out"


def test_a_column_holds_only_what_stands_in_a_document(out: Path, texts: dict[str, str]) -> None:
    places = []
    for profile in rows_of(out, "profiles"):
        facts = {e["field"] for e in profile["evidence"] if e["grounded"]}
        for name in ("name", "city", "country", "founded_year", "website", "employees"):
            assert profile[name] is None or name in facts
        for evidence in profile["evidence"]:
            assert bool(evidence["places"]) == evidence["grounded"]
            assert evidence["grounded"] or not evidence["chosen"]
            places += evidence["places"]
    assert len([place for place in places if "d800" < place["document_id"] < "d900"]) > 10
    for place in places:
        assert texts[place["document_id"]][place["start"] : place["end"]] == place["quote"]


def test_documents_about_no_company_are_dead_letters(out: Path) -> None:
    (dead,) = rows_of(out, "dead_letters")
    assert (dead["document_id"], dead["fault"], dead["stage"]) == ("d900", "no_company", "reduce")
    assert "c900" not in {p["company_id"] for p in rows_of(out, "profiles")}


def test_profiles_stand_in_order_of_their_ids_over_many_files(out: Path) -> None:
    assert len(rows_of(out, "profiles")) == 40 + 1 + 10
    for file in manifest(out)["profiles"]:
        ids = pq.read_table(out / file["path"])["company_id"].to_pylist()
        assert ids == sorted(ids)


def test_work_and_publication_are_files_that_a_person_can_read(out: Path, texts: dict[str, str]) -> None:
    files = {"manifest.json", "report.html"}
    assert {path.name for path in out.iterdir()} == files | {"current", "profiles", "dead_letters", "work"}
    plan = (out / "work" / "runs").glob("*/chunks/*.parquet")
    chunks = [chunk for path in plan for chunk in pq.read_table(path).to_pylist()]
    (chunk,) = (chunk for chunk in chunks if chunk["company_id"] == "c000")
    assert row(0)["text"] in chunk["content"]
    assert chunk["pieces"][0]["source_path"].endswith(f"in.parquet#row={len(texts) - 1}")


class Trap(BaseModel):
    """A profile that kills the process in which it is read, once for each file that it names."""

    trap: Annotated[str | None, vote()]

    @field_validator("trap")
    @classmethod
    def spring(cls, path: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            Path(path).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return path


def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(tmp_path: Path, cluster: None) -> None:
    told = {"profile": f"{__name__}:Trap", "model": {"name": "m"}, "confidence": {"min_confidence": 0}}
    settings = Settings.model_validate({**told, "prompt": {"instructions": "Read."}})
    storage = Storage(str(tmp_path / "out"))
    run = Run("20260101T000000Z-000000", settings, fleet("endpoint", settings), storage, tmp_path)
    traps = [tmp_path / f"trap{n}" for n in range(3)]
    files = []
    for number, trap in enumerate(traps):
        trap.touch()
        piece = Piece(f"d{number}", 0, len(str(trap)), 0, len(str(trap)), None, None, "in")
        chunk = Chunk(f"c{number}", f"company{number}", str(trap), 10, 10, (piece,))
        table = pa.Table.from_pylist([asdict(chunk)], CHUNKS)
        files.append(storage.write_table(f"{run.folder}/chunks/{{sha}}.parquet", table).path)
        LedgerWriter(run.ledger, "run", "actor").append([Result(f"c{number}", (json.dumps({"trap": str(trap)}),))])
    reduced = reduce(run, Plan(tuple(files), (), 3, 0, 0, True), run.ledger.index())
    assert not any(trap.exists() for trap in traps)
    assert (reduced.in_profiles, reduced.dead_documents, len(reduced.profiles)) == (3, 0, 3)
    rows = [row for file in reduced.profiles for row in storage.read_table(file.path).to_pylist()]
    assert [row["trap"] for row in rows] == list(map(str, traps))


def test_what_documents_disagree_on_is_published_beside_the_profile(out: Path, texts: dict[str, str]) -> None:
    (profile,) = (each for each in rows_of(out, "profiles") if each["company_id"] == "c700")
    assert profile["founded_year"] == 1931
    (conflict,) = [c for c in profile["conflicts"] if c["field"] == "founded_year"]
    assert (conflict["chosen"], conflict["support"], conflict["rule"]) == ("1931", 2, "vote")
    (other,) = conflict["alternatives"]
    place = other["place"]
    assert (other["value"], other["support"]) == ("1950", 1)
    assert texts["d702"][place["start"] : place["end"]] == place["quote"] == "1950"


def test_a_company_that_is_not_sure_enough_is_none(tmp_path: Path, fake: FakeServer) -> None:
    rows = [row(0), {**row(1), "company_name": "Northwind Works"}]
    schema = TEXT.append(pa.field("company_name", pa.string()))
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "in.parquet")
    minima = 'confidence.min_confidence={"name": 0.9999, "default": 0}'
    more = ("--set", minima, "--set", "max_dead_fraction=1")
    assert job(tmp_path / "in.parquet", tmp_path / "out", fake.url, *more) == 0
    (dead,) = rows_of(tmp_path / "out", "dead_letters")
    assert (dead["document_id"], dead["fault"]) == ("d000", "no_company")
    (profile,) = rows_of(tmp_path / "out", "profiles")
    assert profile["company_id"] == "c001"  # the input says which company it is
    assert (profile["name"], profile["confidence"]["name"]) == (None, None)
    assert any(e["chosen"] for e in profile["evidence"])
    names = [e for e in profile["evidence"] if e["field"] == "name"]
    assert names and all(e["confidence"] < 0.9999 and not e["chosen"] for e in names)


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
    rows: Annotated[list[list[float]], union(verbatim=False)] = []
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
    return published_table([row], Works)


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
