"""The score of published profiles."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from actors.results import Result
from extraction.errors import Fault
from jobs import evaluate
from tests.fakes.process import FakeServer
from tests.jobs.helpers import job, row, rows_of
from tests.jobs.models import Workshop
from tests.jobs.outputs import ask, publish, reply

LABELS = {
    "alder": {"name": "Alder Ltd", "city": "Galway", "website": None},
    "birch": {"name": ["Birch", "Birch GmbH"], "city": "Bautzen", "in_text": {"city": False}},
    "elder": None,
}
PROFILES = {
    "alder": {"name": "ALDER LIMITED", "website": "alder.example"},
    "birch": {"name": "Birch", "city": "Dresden"},
    "cedar": {"name": "Cedar"},
}


def labelled(folder: Path, labels: dict[str, Any] = LABELS) -> Path:
    """A file of labels."""
    path = folder / "labels.yaml"
    path.write_text(json.dumps(labels))
    return path


def scored(folder: Path, out: Path, labels: Path, *more: str) -> dict[str, Any]:
    """The score as JSON, its fields by name."""
    path = folder / "score.json"
    assert evaluate.main(["--profiles", str(out), "--labels", str(labels), "--json", str(path), *more]) == 0
    found: dict[str, Any] = json.loads(path.read_text())
    return {**found, "fields": {row["field"]: row for row in found["fields"]}}


def test_each_field_is_scored(tmp_path: Path) -> None:
    found = scored(tmp_path, publish(tmp_path / "out", PROFILES), labelled(tmp_path))
    assert set(found["fields"]) == {"name", "city", "website", "all fields"}
    name, city, website = (found["fields"][field] for field in ("name", "city", "website"))
    assert (name["precision"]["value"], name["recall"]["value"], name["f1"]) == (1, 1, 1)
    assert (city["precision"]["value"], city["recall"]["value"], city["f1"]) == (0, 0, 0)
    assert website["recall"]["value"] is None
    assert city["counts"]["invented"] == website["counts"]["invented"] == 1
    assert found["fields"]["all fields"]["counts"]["given"] == 4
    assert found["companies"] == {"labelled": 3, "read": 2, "with_profile": 2}
    assert {(m["company_id"], m["field"], m["kind"]) for m in found["mistakes"]} == {
        ("alder", "city", "missing"),
        ("alder", "website", "invented"),
        ("birch", "city", "invented"),
    }


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = publish(tmp_path / "out", PROFILES)
    assert evaluate.main(["--profiles", str(out), "--labels", str(labelled(tmp_path)), "--errors", "1"]) == 0
    printed = capsys.readouterr().out
    assert [line.split()[0] for line in printed.splitlines()[:5]] == ["field", "name", "city", "website", "all"]
    assert "invented  birch: Dresden  |  Bautzen" not in printed  # the second mistake of its field
    assert "missing   alder: -  |  Galway" in printed
    assert "note         the run's plan is gone" in printed


def test_labels_are_looked_up_in_the_documents(tmp_path: Path) -> None:
    text = {"alder": "Alder Ltd of Galway", "birch": "BIRCH   GmbH sits in Bautzen"}
    rows = [{"document_id": c, "company_id": c, "text": said} for c, said in text.items()]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    out, labels = publish(tmp_path / "out", PROFILES), labelled(tmp_path)
    city = scored(tmp_path, out, labels, "--documents", str(tmp_path / "in.parquet"))["fields"]["city"]
    assert city["counts"]["in_text"] == 2  # Bautzen does stand there, whatever the labels say
    assert city["counts"]["invented"] == 0


def test_a_label_of_another_name_is_mapped(tmp_path: Path) -> None:
    out = publish(tmp_path / "out", {"alder": {"city": "Galway"}})
    labels = labelled(tmp_path, {"alder": {"location": "Galway"}})
    found = scored(tmp_path, out, labels, "--map", "city=location")
    assert found["fields"]["city"]["recall"]["value"] == 1


def test_companies_that_were_read_and_got_no_profile_miss_all(tmp_path: Path) -> None:
    out = publish(tmp_path / "out", {"alder": {"name": "Alder"}})
    none = Result("b", fault=Fault.INVALID, message="no JSON", attempts=2)
    ask(out, [("alder", "Alder", Result("a", (reply(name="Alder"),), attempts=1)), ("birch", "Birch", none)])
    found = scored(tmp_path, out, labelled(tmp_path))
    assert found["companies"] == {"labelled": 3, "read": 2, "with_profile": 1}
    assert found["fields"]["name"]["recall"]["value"] == 0.5


def test_what_evidence_and_ledger_tell(tmp_path: Path) -> None:
    evidence = [
        ("name", "Alder", True, True),
        ("city", "Cork", False, False),
        ("city", "Galway", False, True),
        ("website", "x", False, False),
    ]
    out = publish(tmp_path / "out", {"alder": {"name": "Alder", "evidence": evidence}})
    answers = [
        Result("a", (reply(name="Alder"),), attempts=2, truncated=1),
        Result("b", (reply(name="Alder", city="Cork"),), attempts=1),
        Result("c", fault=Fault.REPETITION, message="", attempts=3, looped=2, truncated=1),
        Result("d", (reply(),), attempts=2, looped=1),
    ]
    ask(out, [("alder", f"Alder {answer.chunk_id}", answer) for answer in answers])
    rates = scored(tmp_path, out, labelled(tmp_path))["rates"]
    assert rates == {
        "grounded": 0.5,
        "answered": 0.75,
        "truncated": 0.5,
        "looped": 0.5,
        "attempts": 2.0,
    }


def test_a_value_that_looks_like_json_and_a_question_of_two_companies_count(tmp_path: Path) -> None:
    evidence = [("name", "{company_name}", True, True)]
    out = publish(
        tmp_path / "out", {n: {"name": "{company_name}", "evidence": evidence} for n in ("alder", "birch")}
    )
    answer = Result("a", (reply(name="Alder"),))
    ask(out, [("alder", "Alder", answer), ("birch", "Alder", answer)])
    assert scored(tmp_path, out, labelled(tmp_path))["rates"]["answered"] == 1


def test_answers_without_scores_count(tmp_path: Path) -> None:
    out = publish(tmp_path / "out", {"alder": {"name": "Alder"}})
    ask(out, [("alder", "Alder", Result("a", (reply(name="Alder"),)))])
    (segment,) = (out / "work" / "ledger").glob("*/*.parquet")
    pq.write_table(pq.read_table(segment).drop_columns(["scores"]), segment)
    found = scored(tmp_path, out, labelled(tmp_path), "--model-alone")
    assert (found["rates"]["answered"], found["fields"]["name"]["counts"]["right"]) == (1, 1)


def test_another_model(tmp_path: Path) -> None:
    profile = {"master": "Ana", "place": {"town": "Porto", "since": 1998}, "goods": ["chairs", "beds"]}
    out = publish(tmp_path / "out", {"alder": profile}, Workshop)
    labels = labelled(tmp_path, {"alder": {"town": "PORTO", "since": 1999, "goods": ["beds", "chairs", "tables"]}})
    found = scored(tmp_path, out, labels, "--schema", "tests.jobs.models:Workshop")["fields"]
    assert found["place.town"]["recall"]["value"] == 1
    assert found["place.since"]["precision"]["value"] == 0
    assert found["goods"]["recall"]["value"] == pytest.approx(2 / 3)


def test_what_the_job_published(tmp_path: Path, fake: FakeServer, cluster: None) -> None:
    """A profile scored by what it says itself is right in all; labels are looked up in the columns of the run."""
    given = [row(n, n // 2) for n in range(6)]
    rows = [{"id": one["document_id"], "company_id": one["company_id"], "body": one["text"]} for one in given]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    names = ("--set", "columns.text=body", "--set", "columns.document_id=id")
    assert job(tmp_path / "in.parquet", tmp_path / "out", fake.url, *names) == 0
    profiles = rows_of(tmp_path / "out", "profiles")
    labels = {p["company_id"]: {"name": p["name"], "products": p["products"]} for p in profiles}
    found = scored(tmp_path, tmp_path / "out", labelled(tmp_path, labels))
    every = found["fields"]["all fields"]
    assert every["counts"]["right"] == every["counts"]["given"] == every["counts"]["in_text"] > 0
    assert found["rates"]["answered"] == 1
    assert found["rates"].keys() >= {"grounded"}
    assert found["mistakes"] == []
    file = labelled(tmp_path, {"c000": {"name": ["Northwind Works 0"], "city": "Galway"}})
    found = scored(tmp_path, tmp_path / "out", file, "--documents", str(tmp_path / "in.parquet"))
    assert [found["fields"][field]["counts"]["in_text"] for field in ("name", "city")] == [1, 0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--labels", "labels.yaml"], "Parameter --profiles requires an argument"),
        (["--profiles", "nowhere", "--labels", "labels.yaml"], "nothing is published there"),
        (["--profiles", "labels.yaml", "--labels", "labels.yaml"], "labels.yaml"),
        (["--profiles", "out", "--labels", "nowhere.yaml"], "nowhere.yaml can't be read"),
        (["--profiles", "out", "--labels", "labels.yaml", "--map", "city"], "FIELD=KEY is expected"),
        (["--profiles", "out", "--labels", "labels.yaml", "--map", "town=city"], "the profile has no field 'town'"),
        (["--profiles", "out", "--labels", "labels.yaml", "--map", "city=place"], "no labels 'place'"),
        (["--profiles", "out", "--labels", "other.yaml"], "none of the labelled companies was read"),
        (["--profiles", "out", "--labels", "odd.yaml"], "no label is called as a field is"),
        (["--profiles", "out", "--labels", "labels.yaml", "--schema", "nowhere:Model"], "can't be imported"),
        (["--profiles", "out", "--labels", "labels.yaml", "--documents", "nowhere"], "no such file"),
        (["--profiles", "out", "--labels", "labels.yaml", "--json", "out"], "can't be written"),
    ],
)
def test_the_operators_mistakes_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    flags: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    publish(tmp_path / "out", PROFILES)
    labelled(tmp_path)
    (tmp_path / "other.yaml").write_text("zeder: {name: Zeder}")
    (tmp_path / "odd.yaml").write_text("alder: {hue: red}")
    assert evaluate.main(flags) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"out", "labels.yaml", "other.yaml", "odd.yaml"}


def test_what_other_thresholds_would_publish_and_how_well_confidence_holds(tmp_path: Path) -> None:
    evidence = [("name", "Alder", True, True, 0.92), ("city", "Cork", False, True, 0.4)]
    out = publish(tmp_path / "out", {"alder": {"name": "Alder", "evidence": evidence}})
    found = scored(tmp_path, out, labelled(tmp_path))
    by_confidence = {row["confidence"]: row for row in found["thresholds"]}
    assert (by_confidence[0.0]["values"], by_confidence[0.0]["precision"]) == (2, 0.5)
    assert (by_confidence[0.5]["values"], by_confidence[0.5]["kept"], by_confidence[0.5]["precision"]) == (1, 1, 1)
    assert found["calibration_error"] == pytest.approx((0.08 + 0.4) / 2)
    assert [(row["low"], row["right"]) for row in found["reliability"]] == [(0.4, 0), (0.9, 1)]


def test_each_kind_of_documents_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = publish(tmp_path / "out", PROFILES)
    answers = [("alder", "Alder", Result("a", (reply(name="Alder"),))), ("birch", "Birch", Result("b", ("{}",)))]
    ask(out, answers, kind="[/press]\x1b")
    found = scored(tmp_path, out, labelled(tmp_path), "--by", "document_type")
    assert [(row["kind"], row["companies"], row["given"]) for row in found["kinds"]] == [("[/press]\x1b", 2, 4)]
    printed = capsys.readouterr().out
    assert "kind" in printed and "[/press] " in printed and "\x1b" not in printed


def test_the_model_alone_is_what_it_gives_where_that_stands(tmp_path: Path) -> None:
    out = publish(tmp_path / "out", {"alder": {"name": "Cedar"}})
    said = reply(name="Alder", city="Cork", kind="organization")
    ask(out, [("alder", "Alder Ltd, www.alder.example", Result("a", (said,)))])
    fields = scored(tmp_path, out, labelled(tmp_path), "--model-alone")["fields"]
    assert fields["name"]["precision"]["value"] == 1
    assert fields["city"]["counts"]["given"] == 0  # it stands nowhere
    assert fields["website"]["counts"]["given"] == 0  # found by a standard, not given by the model
