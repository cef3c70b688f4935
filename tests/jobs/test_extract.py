"""The whole job through its command line, against the fake server."""

import datetime
import json
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.schema.profile_model import struct_of
from jobs import extract
from jobs.cli.command import parse_words
from tests.actors.scripted_server import ScriptedServer, completion
from tests.fakes.process import FakeServer
from tests.jobs.helpers import arguments, census, job, manifest, row, rows_of, write
from tests.jobs.models import Filing

pytestmark = pytest.mark.usefixtures("cluster")


def ids(rows: list[dict[str, Any]]) -> set[str]:
    return {r["document_id"] for r in rows}


def test_publishes_a_profile_a_company_and_asks_only_what_it_does_not_know(
    tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(n, company=n // 3) for n in range(12)]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    assert job(source, output, fake.url, "--log-format", "json") == 0
    census(output, ids(rows))
    profiles = rows_of(output, "profiles")
    assert [p["company_id"] for p in profiles] == ["c000", "c001", "c002", "c003"]
    assert profiles[1]["documents"] == ["d003", "d004", "d005"]
    assert profiles[1]["chunks_missing"] == []
    said = manifest(output)
    assert said["counts"] == {
        "documents": 12, "chunks": 12, "chunks_answered": 12, "chunks_from_ledger": 0, "companies": 4,
        "dead_documents": 0,
        "dead_letters": 0,
    }  # fmt: skip
    assert said["tokens"]["prompt"] > said["tokens"]["cached"] > 0
    assert {"run_id", "fingerprint", "created_at", "versions"} <= said.keys()
    texts = {r["document_id"]: r["text"] for r in rows}
    places = [place for p in profiles for evidence in p["evidence"] for place in evidence["places"]]
    assert places
    for place in places:
        assert texts[place["document_id"]][place["start"] : place["end"]] == place["quote"]
    # Progress is JSON on request, and the end says where the report is.
    printed = capsys.readouterr()
    last = json.loads([line for line in printed.err.splitlines() if line.startswith("{")][-1])
    assert (last["run"], last["done"], last["chunks"]) == (said["run_id"], 12, 12)
    assert (last["servers_ready"], last["servers_starting"]) == (1, 0)
    assert f"report       {output}/report.html" in printed.out.splitlines()
    assert (output / "report.html").is_file()

    asked = fake.stats()["requests"]
    assert job(source, output, fake.url) == 0
    assert fake.stats()["requests"] == asked
    assert manifest(output)["counts"] == {**said["counts"], "chunks_from_ledger": 12}
    assert rows_of(output, "profiles") == profiles

    rows[2]["text"] += " It has 40 employees."
    write(source, rows)
    assert job(source, output, fake.url) == 0
    assert fake.stats()["requests"] - asked == 2  # the canary and the document
    assert manifest(output)["counts"]["chunks_from_ledger"] == 11

    for temperature, known in ((0.5, 0), (0, 12)):  # a setting of the prompt asks anew, and old answers are kept
        assert job(source, output, fake.url, "--set", f"sampling.temperature={temperature}") == 0
        assert manifest(output)["counts"]["chunks_from_ledger"] == known


def test_columns_and_tables_are_typed_and_read_by_other_engines_after_several_runs(
    tmp_path: Path, fake: FakeServer
) -> None:
    source, out = write(tmp_path / "in.parquet", [row(n) for n in range(6)]), tmp_path / "out"
    tables = f"iceberg://{tmp_path}/warehouse/a.profiles", f"delta://{tmp_path}/table"
    flags = [word for table in tables for word in ("--output-table", table)]
    for documents, commits in ((2, 1), (4, 2), (3, 3), (3, 3)):  # the last is a rerun
        assert job(source, out, fake.url, "--set", "publications.keep=2", "--limit", str(documents), *flags) == 0
        assert len([*tmp_path.rglob("snap-*.avro")]) == commits
        assert len([*tmp_path.glob("table/_delta_log/*.json")]) == commits
    census(out, {"d000", "d001", "d002"})  # a limit takes the first
    assert len(list((out / "profiles").iterdir())) == 2
    path = out / "current" / "profiles.parquet"
    assert pandas.read_parquet(path)["company_id"].tolist() == ["c000", "c001", "c002"]
    schema = pq.read_schema(path)
    assert schema.field("founded_year").type == pa.int64()
    assert schema.field("products").type.value_type == pa.string()
    assert polars.read_parquet(path)["documents"].to_list() == [["d000"], ["d001"], ["d002"]]
    with duckdb.connect() as database:
        found = database.execute(f"select company_id, len(products), evidence[1].field from '{path}' order by 1")
        assert [r[0] for r in found.fetchall()] == ["c000", "c001", "c002"]


def test_a_run_after_one_of_a_wrong_clock_is_published(tmp_path: Path, fake: FakeServer) -> None:
    source, output = write(tmp_path / "in.parquet", [row(n) for n in range(3)]), tmp_path / "out"
    assert job(source, output, fake.url) == 0
    first = (output / "manifest.json").read_text()
    run_id = json.loads(first)["run_id"]
    (output / "manifest.json").write_text(first.replace(run_id, f"20990101T000000Z{run_id[16:]}"))
    assert job(source, output, fake.url, "--limit", "2") == 0
    assert manifest(output)["run_id"].startswith("20990101T000001Z-")
    assert len(rows_of(output, "profiles")) == 2


def test_outputs_that_share_a_ledger_pay_once(tmp_path: Path, fake: FakeServer) -> None:
    source, shared = write(tmp_path / "in.parquet", [row(n) for n in range(3)]), ("--ledger", str(tmp_path / "all"))
    job(source, tmp_path / "one", fake.url, *shared)
    job(source, tmp_path / "two", fake.url, *shared)
    assert manifest(tmp_path / "two")["counts"]["chunks_from_ledger"] == 3
    assert manifest(tmp_path / "two")["ledger"] == f"file://{tmp_path / 'all'}"
    assert [path.name for path in (tmp_path / "two" / "work").iterdir()] == ["runs"]
    assert rows_of(tmp_path / "two", "profiles") == rows_of(tmp_path / "one", "profiles")


def test_the_same_question_is_asked_once(tmp_path: Path, fake: FakeServer) -> None:
    same = row(0)["text"]
    rows = [row(0), {**row(1, text=same), "company_id": "c000"}, row(2, text=same)]
    before = fake.stats()["requests"]
    assert job(write(tmp_path / "in.parquet", rows), tmp_path / "out", fake.url) == 0
    assert fake.stats()["requests"] - before == 2
    census(tmp_path / "out", ids(rows))
    assert manifest(tmp_path / "out")["counts"]["chunks"] == 1
    profiles = {p["company_id"]: p["documents"] for p in rows_of(tmp_path / "out", "profiles")}
    assert profiles == {"c000": ["d000", "d001"], "c002": ["d002"]}


def test_faults_become_dead_letters_and_are_asked_again_on_request(
    tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(n) for n in range(8)]
    for number, fault in ((1, "truncated"), (3, "invalid*2"), (5, "400"), (6, "503*2")):
        rows[number]["text"] += f" [[fault:{fault}]]"
    long = "Cedar Mills spins yarn in Braga. " * 200 + "[[fault:invalid]]"
    rows += [row(8, text=" "), {"document_id": "long", "company_id": "long", "text": long}]
    source, output = write(tmp_path / "in.parquet", rows), tmp_path / "out"
    assert job(source, output, fake.url, "--set", "max_dead_fraction=0.3") == 3  # it is published all the same
    assert "4 dead (1 empty, 1 invalid, 1 too_long, 1 truncated)" in " ".join(capsys.readouterr().out.split())
    census(output, ids(rows))
    dead = {d["document_id"]: d for d in rows_of(output, "dead_letters")}
    faults = {"d001": "truncated", "d003": "invalid", "d005": "too_long", "d008": "empty"}
    assert {name: d["fault"] for name, d in dead.items()} == faults
    assert all(d["source_path"].endswith(f"row={int(i[1:])}") for i, d in dead.items())
    assert {i for i, d in dead.items() if d["stage"] == "extract"} == {"d001", "d003", "d005"}
    assert not any("Northwind" in d["message"] for d in dead.values())
    assert dead["d003"]["attempts"] == 2
    # Of a document that is answered in part, the profile says what is missing.
    (profile,) = [p for p in rows_of(output, "profiles") if p["company_id"] == "long"]
    (missing,) = profile["chunks_missing"]
    assert (missing["document_id"], missing["fault"]) == ("long", "invalid")
    assert "[[fault:invalid]]" in long[missing["start"] : missing["end"]]

    asked = fake.stats()["requests"]
    assert job(source, output, fake.url, "--set", "max_dead_fraction=0.5") == 0
    assert fake.stats()["requests"] == asked and len(rows_of(output, "dead_letters")) == 4
    assert job(source, output, fake.url, "--set", "max_dead_fraction=0.5", "--retry-failed") == 0
    assert {d["document_id"] for d in rows_of(output, "dead_letters")} == {"d001", "d005", "d008"}


def test_an_empty_dataset_publishes_nothing_and_succeeds(tmp_path: Path, fake: FakeServer) -> None:
    assert job(write(tmp_path / "in.parquet", []), tmp_path / "out", fake.url) == 0
    assert manifest(tmp_path / "out")["counts"]["documents"] == 0
    assert manifest(tmp_path / "out")["profiles"] == []


def test_plan_prints_the_size_and_the_cost_and_asks_nothing(
    tmp_path: Path, fake: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.parquet", [row(n) for n in range(4)] + [row(9, text="")])
    before = fake.stats()["requests"]
    price = ("--set", "price={million_output_tokens: 1000, currency: €}")
    assert job(source, tmp_path / "out", fake.url, "--plan", *price) == 0
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.replace("(estimated)", "").splitlines()]
    assert {"documents 5", "requests 4", "GPU-hours -", "cost 1.44 €"} <= set(printed)
    told = dict(line.rsplit(maxsplit=1) for line in printed)
    assert int(told["prompt tokens"].replace(",", "")) > 400
    assert fake.stats()["requests"] == before
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_arguments_are_the_documented_ones(tmp_path: Path) -> None:
    run = parse_words(extract.app, arguments(tmp_path, tmp_path, "http://x"))
    assert isinstance(run, partial) and run.keywords["engine"].engine == "endpoint"


def test_a_users_dates_choices_and_aliases_are_published(tmp_path: Path) -> None:
    reply = {"company": "Oak Ltd", "filed": "2024-03-12", "until": None, "standing": "good", "listed": True}
    rows = [row(n, text=f"Oak Ltd filed on 12 March 2024. Note {n}.") for n in range(2)]
    source = write(tmp_path / "in.parquet", rows)
    with ScriptedServer(completion(json.dumps({**reply, "form": "8-K"}))) as server:
        given = ["--schema", "tests.jobs.models:Filing", "--set", "prompt={instructions: 'Read. {fields}'}"]
        assert job(source, tmp_path / "out", server.address.url, *given) == 0
    census(tmp_path / "out", ids(rows))
    for profile in rows_of(tmp_path / "out", "profiles"):
        filed, filing = datetime.date(2024, 3, 12), {name: profile[name] for name in struct_of(Filing).names}
        assert filing == {**reply, "filed": filed, "form": None, "open": True}
        (quote,) = (e["places"][0]["quote"] for e in profile["evidence"] if e["field"] == "filed")
        assert quote == "12 March 2024"
    assert manifest(tmp_path / "out")["refused"] == {"form: string_pattern_mismatch": 2}
