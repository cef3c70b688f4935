"""Bad input and bad flags: a clear line, the right exit code, and nothing lost."""

import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import extract
from jobs.stages import ray_cluster
from tests.fakes.process import FakeServer
from tests.jobs.helpers import arguments, census, job, manifest, row, rows_of, write

NOWHERE = "http://127.0.0.1:9"


def complaint(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    """Run a command line that is the operator's mistake; what it says."""
    assert extract.main(argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert len(said.err.strip().splitlines()) == 1
    return said.err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--input", "a", "--output", "b", "--limit", "0"], 'Invalid value "0" for --limit'),
        (["--input", "a", "--output", "b", "--set", "limits.max_chunk_tokens=-4"], "limits.max_chunk_tokens"),
        (["--input", "a", "--output", "b", "--set", "limits.colour=red"], "limits.colour"),
        (["--input", "a", "--output", "b", "--config", "missing.yaml"], "missing.yaml can't be read"),
        (["--input", "a", "--output", "b", "--engine", "llamacpp", "--model", "gpt"], "gemma-3-270m"),
        (["--input", "a", "--output", "b", "--engine", "endpoint", "--endpoint", "host"], "--endpoint host"),
        (["--input", "a", "--output", "b", "--schema", "json:loads"], "json:loads"),
        (["--input", "", "--output", "b"], "--input  can't be opened: the path is empty"),
    ],
)
def test_flags_and_settings(argv: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in complaint(capsys, [*argv, *([] if "--engine" in argv else ["--engine", "llamacpp"])])


def test_no_such_path_and_no_parquet_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in.parquet").write_text("document_id,text\n")
    (tmp_path / "lake" / "_delta_log").mkdir(parents=True)
    (tmp_path / "lake" / "_delta_log" / f"{0:020}.json").write_text('{"commitInfo": {}}')
    write(tmp_path / "lake" / "a.parquet", [row(0)])
    for name, words in (
        ("none", "there is no such file or folder"),
        ("in", "no Parquet files"),
        ("in.parquet", "no readable Parquet file"),
        ("lake", "is a Delta Lake table"),
    ):
        assert words in complaint(capsys, arguments(tmp_path / name, tmp_path / "out", NOWHERE))


@pytest.mark.parametrize("flag", ["--output", "--ledger"])
def test_a_variable_that_is_not_set_is_no_place(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in.parquet", [row(1)])
    said = complaint(capsys, [*arguments(source, tmp_path / "out", NOWHERE), flag, ""])
    assert f"{flag}  can't be written to: the path is empty" in said


def test_a_missing_column_names_those_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(pa.table({"id": ["a"], "Text": ["b"]}), tmp_path / "in.parquet")
    said = complaint(capsys, arguments(tmp_path / "in.parquet", tmp_path / "out", NOWHERE))
    assert "no column 'document_id' and no column 'text' (did you mean 'Text'?) among id, Text" in said
    assert "--set columns.document_id=COLUMN --set columns.text=COLUMN" in said


def test_sglang_without_a_gpu_is_told_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "gpus", lambda: 0)
    asked = [*arguments(tmp_path / "in.parquet", tmp_path / "out", NOWHERE), "--engine", "sglang"]
    assert "--engine sglang wants 1 GPU(s) a server, and 0 can be seen on this machine" in complaint(capsys, asked)


def test_columns_of_other_names_and_types(tmp_path: Path, fake: FakeServer, cluster: None) -> None:
    table = pa.table(
        {
            "id": pa.array([7, 8], pa.int32()),
            "body": pa.array(["Alba Ltd in Cork.", "Brava SA in Porto."]).dictionary_encode(),
            "firm": pa.array([None, "8"]),
            "ignored": pa.array([{"x": 1}, None]),
        }
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "a.parquet")
    kinds = (pa.int64(), pa.float64(), pa.decimal128(10, 2), pa.dictionary(pa.int32(), pa.string()))
    for n, kind in enumerate(kinds):  # one company in all files
        known = pa.array([uuid.UUID(int=n).bytes], pa.uuid())
        other = pa.table({"id": known, "body": [f"Brava {n}."], "firm": pa.array(["8"]).cast(kind)})
        pq.write_table(other, tmp_path / "in" / f"{n}.parquet")
    names = ["columns.document_id=id", "columns.text=body", "columns.company_id=firm"]
    more = [part for name in names for part in ("--set", name)]
    assert job(tmp_path / "in", tmp_path / "out", fake.url, *more) == 0
    census(tmp_path / "out", {"7", "8", *(str(uuid.UUID(int=n)) for n in range(4))})
    found = {p["company_id"]: len(p["documents"]) for p in rows_of(tmp_path / "out", "profiles")}
    assert found == {"7": 1, "8": 5}


def test_what_can_not_be_read_costs_no_more_than_itself(tmp_path: Path, fake: FakeServer, cluster: None) -> None:
    """Rows, a row group and files; of two inputs, a folder and a glob, that both have one of the files."""
    folder = tmp_path / "in"
    rows = [row(n) for n in range(9)]
    rows[0]["text"], rows[1]["text"] = "", " \n\t"
    rows[2]["document_id"] = None
    rows[3]["text"] = "x " * 60_000
    rows[4] = {**row(5), "text": "Other words under an id that is taken, by Harrow Ltd in York."}
    rows[6] = row(7)
    write(folder / "a=1" / "rows.parquet", [*rows, {**row(10), "text": None}])
    whole = write(folder / "a=2" / "cut.parquet", [row(n) for n in range(20, 23)]).read_bytes()
    (folder / "a=2" / "cut.parquet").write_bytes(whole[: len(whole) // 2])
    pq.write_table(pa.table({"other": [1]}), folder / "other.parquet")
    text = pa.array([b"Alba Ltd in Cork.", b"\xff\xfe broken"], pa.binary())
    pq.write_table(pa.table({"document_id": ["utf8", "bytes"], "text": text}), folder / "bytes.parquet")
    table = pa.Table.from_pylist([row(n, text=f"{row(n)['text']} " + "padding " * 40) for n in range(30, 36)])
    path = folder / "group.parquet"
    pq.write_table(table, path, row_group_size=2, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(table.schema.get_field_index("text"))
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 24] = b"\xff" * 24
    path.write_bytes(bytes(data))

    more = ("--set", "limits.max_document_bytes=100000", "--set", "max_dead_fraction=1")
    glob = ("--input", str(folder / "a=1" / "*.parquet"))
    assert job(folder, tmp_path / "out", fake.url, *glob, *more) == 0
    dead = rows_of(tmp_path / "out", "dead_letters")
    places = {(Path(d["source_path"]).name.split("#")[0], d["source_path"].partition("#row=")[2]): d for d in dead}
    assert len(places) == len(dead)
    assert {place: d["fault"] for place, d in places.items()} == {
        ("rows.parquet", "0"): "empty", ("rows.parquet", "1"): "empty", ("rows.parquet", "2"): "missing_id",
        ("rows.parquet", "3"): "too_large", ("rows.parquet", "5"): "duplicate_id", ("rows.parquet", "9"): "empty",
        ("cut.parquet", ""): "unreadable", ("other.parquet", ""): "unreadable",
        ("bytes.parquet", "1"): "not_text", ("group.parquet", ""): "unreadable",
    }  # fmt: skip
    assert "rows 2 to 3" in places["group.parquet", ""]["message"]
    assert all(d["stage"] == "plan" and d["attempts"] == 0 for d in dead)
    # Rows 4 and 5 share an id, 6 and 7 are the same document.
    alive = {"d005", "d007", "d008", "utf8", "d030", "d031", "d034", "d035"}
    assert {name for p in rows_of(tmp_path / "out", "profiles") for name in p["documents"]} == alive
    census(tmp_path / "out", alive | {d["document_id"] for d in dead if d["document_id"]})


def test_what_is_odd_in_columns_is_told_and_counted_in_documents(
    tmp_path: Path, fake: FakeServer, cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "in [1]? 100%25 a::b", tmp_path / "out::1"
    dates = ["2024-05-01", "05/01/2024", None]
    rows = [{**row(n, company=0), "document_date": date, "title": ["a", "list"]} for n, date in enumerate(dates)]
    del rows[0]["company_id"], rows[1]["company_id"], rows[2]["company_id"]
    (source / "company_id=acme").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([*rows, rows[0]]), source / "company_id=acme" / "a.parquet")
    lists = pa.table({"document_id": [["x"]] * 40, "text": ["y"] * 40})
    pq.write_table(lists, source / "b.parquet")
    assert job(source, out, fake.url) == 3  # 40 of 43 are lost with their file
    told = capsys.readouterr()
    assert "note     column 'document_date' means nothing in 1 documents" in told.err
    assert "title" in told.err
    assert "a.parquet#row=1: '05/01/2024' is no date of a known form" in told.err
    assert "1 rows repeat a document" in told.err
    assert "exit 3   40 dead of 43 documents are more than max_dead_fraction" in told.err
    assert "43 in, 1 companies out, 40 dead" in " ".join(told.out.split())
    said = manifest(out)
    assert (said["counts"]["documents"], said["counts"]["dead_letters"], said["counts"]["dead_documents"]) == (
        43,
        1,
        40,
    )
    assert len(said["notes"]) == 3
    (dead,) = rows_of(out, "dead_letters")
    assert dead["documents"] == 40 and dead["message"].startswith("column 'document_id' is list<")
    census(out, {"d000", "d001", "d002"})
    assert [profile["company_id"] for profile in rows_of(out, "profiles")] == ["acme"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--set", "columns.company_id=typo"], "columns.company_id = typo: there is no such column"),
        (["--set", "columns.title=heading"], "columns.title = heading"),
        (["--set", "columns.compny_id=x"], "--set columns.compny_id: there is no such key"),
        (["--output", "{source}"], "is within --input"),
        (["--output", "{source}/out"], "is within --input"),
        (["--ledger", "{source}/ledger"], "--ledger {source}/ledger is within --input"),
    ],
)
def test_mistakes_about_the_input(
    tmp_path: Path, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in" / "a.parquet", [row(0)]).parent
    more, words = [each.format(source=source) for each in more], words.format(source=source)
    assert words in complaint(capsys, arguments(source, tmp_path / "out", NOWHERE, *more))
    assert sorted(path.name for path in source.iterdir()) == ["a.parquet"]
