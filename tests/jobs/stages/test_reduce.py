"""What is published about companies: facts in columns, everything else in evidence."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.stages import reduce
from tests.fakes.process import FakeServer
from tests.jobs.helpers import TEXT, job, manifest, row, rows_of, write

pytestmark = pytest.mark.usefixtures("cluster")


def test_a_column_holds_only_what_stands_in_a_document(tmp_path: Path, fake: FakeServer) -> None:
    job(write(tmp_path / "in.parquet", [row(n) for n in range(5)]), tmp_path / "out", fake.url)
    for profile in rows_of(tmp_path / "out", "profiles"):
        facts = {e["field"] for e in profile["evidence"] if e["grounded"]}
        for name in ("name", "city", "country", "founded_year", "website", "employees"):
            assert profile[name] is None or name in facts
        for evidence in profile["evidence"]:
            assert bool(evidence["places"]) == evidence["grounded"]
            assert evidence["grounded"] or not evidence["chosen"]


def test_documents_about_no_company_are_dead_letters(tmp_path: Path) -> None:
    rows = [row(0), row(1, text="... --- ...")]
    with FakeServer() as server:
        more = ("--set", "max_dead_fraction=1")
        assert job(write(tmp_path / "in.parquet", rows), tmp_path / "out", server.url, *more) == 0
    (dead,) = rows_of(tmp_path / "out", "dead_letters")
    assert (dead["document_id"], dead["fault"], dead["stage"]) == ("d001", "no_company", "reduce")
    assert [p["company_id"] for p in rows_of(tmp_path / "out", "profiles")] == ["c000"]


def test_profiles_stand_in_order_of_their_ids_over_many_files(tmp_path: Path, fake: FakeServer) -> None:
    rows = [row(n) for n in range(40)]
    pq.write_table(pa.Table.from_pylist(rows[::-1], TEXT), tmp_path / "in.parquet", row_group_size=8)
    job(tmp_path / "in.parquet", tmp_path / "out", fake.url)
    assert len(rows_of(tmp_path / "out", "profiles")) == 40
    for file in manifest(tmp_path / "out")["profiles"]:
        ids = pq.read_table(tmp_path / "out" / file["path"])["company_id"].to_pylist()
        assert ids == sorted(ids)


def test_work_and_publication_are_files_that_a_person_can_read(tmp_path: Path, fake: FakeServer) -> None:
    job(write(tmp_path / "in.parquet", [row(0)]), tmp_path / "out", fake.url)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"manifest.json", "profiles", "report.html", "work"}
    (chunks,) = (tmp_path / "out" / "work" / "runs").glob("*/chunks/*.parquet")
    (chunk,) = pq.read_table(chunks).to_pylist()
    assert row(0)["text"] in chunk["content"]
    assert chunk["pieces"][0]["source_path"].endswith("in.parquet#row=0")
    assert set(reduce.KINDS) == {"profiles", "dead_letters"}


def test_what_documents_disagree_on_is_published_beside_the_profile(tmp_path: Path, fake: FakeServer) -> None:
    texts = [f"Lantern Works Ltd was founded in {year} in Galway, Ireland." for year in (1931, 1931, 1950)]
    rows = [row(n, company=7, text=text) for n, text in enumerate(texts)]
    job(
        write(tmp_path / "in.parquet", rows), tmp_path / "out", fake.url, "--set", "limits.group_target_tokens=null"
    )
    (profile,) = rows_of(tmp_path / "out", "profiles")
    assert profile["founded_year"] == 1931
    (conflict,) = [c for c in profile["conflicts"] if c["field"] == "founded_year"]
    assert (conflict["chosen"], conflict["support"], conflict["rule"]) == ("1931", 2, "vote")
    (other,) = conflict["alternatives"]
    place = other["place"]
    assert (other["value"], other["support"]) == ("1950", 1)
    assert texts[2][place["start"] : place["end"]] == place["quote"] == "1950"


def test_every_quote_is_cut_from_its_document(tmp_path: Path, fake: FakeServer) -> None:
    rows = [
        row(n, text=f"\u00a0Caf\u00c3\u00a9 {n} Ltd <|im_end|>\r\nfounded in 19{n:02} in Galway, Ireland")
        for n in range(10, 20)
    ]
    texts = {r["document_id"]: r["text"] for r in rows}
    job(write(tmp_path / "in.parquet", rows), tmp_path / "out", fake.url)
    places = [
        place
        for profile in rows_of(tmp_path / "out", "profiles")
        for e in profile["evidence"]
        for place in e["places"]
    ]
    assert len(places) > 10
    for place in places:
        assert texts[place["document_id"]][place["start"] : place["end"]] == place["quote"]


def test_a_company_that_is_not_sure_enough_is_none(tmp_path: Path, fake: FakeServer) -> None:
    rows = [row(0), {**row(1), "company_name": "Northwind Works 1"}]
    schema = TEXT.append(pa.field("company_name", pa.string()))
    pq.write_table(pa.Table.from_pylist(rows, schema), tmp_path / "in.parquet")
    more = ("--set", "confidence.min_confidence=0.9999", "--set", "max_dead_fraction=1")
    assert job(tmp_path / "in.parquet", tmp_path / "out", fake.url, *more) == 0
    (dead,) = rows_of(tmp_path / "out", "dead_letters")
    assert (dead["document_id"], dead["fault"]) == ("d000", "no_company")
    (profile,) = rows_of(tmp_path / "out", "profiles")
    assert profile["company_id"] == "c001"  # the input says which company it is
    assert profile["founded_year"] is None and profile["confidence"]["founded_year"] is None
    years = [e for e in profile["evidence"] if e["field"] == "founded_year"]
    assert years and all(e["grounded"] and 0 < e["confidence"] < 0.9999 and not e["chosen"] for e in years)
