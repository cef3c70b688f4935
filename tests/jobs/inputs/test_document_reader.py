"""Input files are found, looked over and read into document rows."""

import datetime
import io
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.config.settings import Columns
from extraction.document_validation import validated
from extraction.errors import OperatorError
from jobs.inputs.column_types import refusal
from jobs.inputs.document_reader import document_rows, find_input
from jobs.state.parquet_schemas import DOCUMENT_ROWS
from tests.jobs.helpers import row, write


def test_parts_are_row_groups_in_order(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row(n) for n in range(5)])
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    write(tmp_path / "b.parquet", [row(9)])
    found = find_input([str(tmp_path)], Columns())
    assert [(Path(p.url).name, p.row_group, p.first_row, p.rows) for p in found.parts] == [
        ("a.parquet", 0, 0, 2), ("a.parquet", 1, 2, 2), ("a.parquet", 2, 4, 1), ("b.parquet", 0, 0, 1),
    ]  # fmt: skip


def test_limit_cuts_within_a_part(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([row(n) for n in range(5)]), tmp_path / "a.parquet", row_group_size=2)
    found = find_input([str(tmp_path)], Columns(), limit=3)
    ids = [
        i for part in found.parts for t in document_rows([part], Columns()) for i in t["document_id"].to_pylist()
    ]
    assert ids == ["d000", "d001", "d002"]
    assert find_input([str(tmp_path)], Columns(), limit=0).parts == ()


def test_rows_have_one_schema_whatever_the_file_holds(tmp_path: Path) -> None:
    table = pa.table(
        {
            "document_id": pa.array([1, 2, None], pa.int64()),
            "text": pa.array([b"one", b"t\xffo", None], pa.large_binary()),
            "document_date": pa.array([0, 86_400_000_000, None], pa.timestamp("us")),
            "document_type": pa.nulls(3),
            "title": ["", "Two", None],
            "url": ["https://a.example", None, ""],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    (part,) = find_input([str(tmp_path / "a.parquet")], Columns()).parts
    (rows,) = document_rows([part], Columns())
    assert rows.schema == DOCUMENT_ROWS
    told = rows.to_pylist()
    assert [r["document_id"] for r in told] == ["1", "2", None]
    assert [r["text"] for r in told] == ["one", None, None]
    assert [r["not_text"] for r in told] == [False, True, False]
    assert [r["document_date"] for r in told] == ["1970-01-01", "1970-01-02", None]
    assert [r["title"] for r in told] == [None, "Two", None]
    assert [r["url"] for r in told] == ["https://a.example", None, None]
    assert told[2]["company_id"].endswith("a.parquet#row=2")


def test_what_is_hidden_is_no_input(tmp_path: Path) -> None:
    root = tmp_path / "_landing" / ".ours"
    for n, name in enumerate(
        ("_x.parquet", "_temporary/0/p.parquet", "a/.tmp/q.parquet", "a/_spark_metadata/0.pq")
    ):
        write(root / name, [row(n)])
    for name in ("p.parquet", "_x=1/p.parquet", "a/b/p.parquet"):
        write(root / name, [row(9)])

    def found(given: str) -> list[str]:
        return [part.url.split("/.ours/")[1] for part in find_input([f"{root}{given}"], Columns()).parts]

    assert found("") == found("/") == found("/**") == ["_x=1/p.parquet", "a/b/p.parquet", "p.parquet"]
    assert found("/*/p.parquet") == ["_x=1/p.parquet"]
    assert found("/*/.tmp/*.parquet") == found("/a/.tmp") == ["a/.tmp/q.parquet"]
    assert found("/_x.parquet") == ["_x.parquet"]
    with pytest.raises(OperatorError, match="there are no Parquet files"):
        found("/*/0/*.parquet")
    assert found("/_temporary") == ["_temporary/0/p.parquet"]


def test_an_unknown_store_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match="nosuch://bucket/x can't be opened"):
        find_input(["nosuch://bucket/x"], Columns())


STORE: Any = fsspec.filesystem("memory")


def file_of(table: pa.Table, compression: str = "none") -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=4, compression=compression, write_page_checksum=True)
    return sink.getvalue()


ROWS = 12
GOOD = file_of(
    pa.table({"document_id": [f"d{n}" for n in range(ROWS)], "text": [f"Text {n}." * 9 for n in range(ROWS)]})
)
COLUMNS = st.sampled_from(
    [
        pa.array(["a", None, "", "\u2028"]),
        pa.array([b"a", b"\xff\xfe", None, b""], pa.binary()),
        pa.array([1, None, -3, 2**62]),
        pa.array([1.5, float("nan"), None, 0.0]),
        pa.array([True, None, False, True]),
        pa.array([0, 1, None, 3], pa.timestamp("ns", "UTC")),
        pa.array([0, 1, None, 3], pa.date32()),
        pa.array(["a", "b", None, "a"]).dictionary_encode(),
        pa.array([b"a", None, b"\xff", b""], pa.large_binary()),
        pa.array([None] * 4, pa.null()),
        pa.array([["a"], [], None, ["b", "c"]]),
        pa.array([{"x": 1}, None, {"x": 2}, {"x": 3}]),
        pa.array([1, 2, None, 4], pa.decimal128(10, 2)),
    ]
)


def read_all(data: bytes) -> list[dict[str, Any]]:
    """What becomes of a file: its rows; none where it is refused as a whole."""
    path = f"/{uuid.uuid4().hex}.parquet"
    STORE.pipe_file(path, data)
    try:
        found = find_input([f"memory:/{path}"], Columns())
        tables = [table for part in found.parts for table in document_rows([part], Columns())]
    except OperatorError:
        return []
    finally:
        STORE.rm_file(path)
    for table in tables:
        assert table.schema == DOCUMENT_ROWS
        table.validate(full=True)
    rows: list[dict[str, Any]] = pa.concat_tables([DOCUMENT_ROWS.empty_table(), *tables]).to_pylist()
    validated([row for row in rows if not row["unreadable"]], 1_000)
    return rows


def test_a_good_file_is_read_whole() -> None:
    assert len(read_all(GOOD)) == ROWS


@given(st.integers(0, len(GOOD)))
def test_a_file_cut_anywhere(length: int) -> None:
    rows = read_all(GOOD[:length])
    assert len(rows) in (0, ROWS)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(1, 40))
def test_a_file_with_bytes_changed_anywhere(at: int, by: int, length: int) -> None:
    data = bytearray(GOOD)
    for n in range(at, min(len(data), at + length)):
        data[n] ^= by
    read_all(bytes(data))


@given(st.binary(max_size=200))
def test_a_file_of_any_bytes(data: bytes) -> None:
    assert read_all(data) == []


@given(COLUMNS, COLUMNS, COLUMNS, COLUMNS, st.sampled_from(["none", "zstd", "snappy"]))
def test_columns_of_any_type(ids: Any, text: Any, company: Any, date: Any, compression: str) -> None:
    columns = {"document_id": ids, "text": text, "company_id": company, "document_date": date}
    refused = any(refusal(name, column.type) for name, column in columns.items() if name != "document_date")
    rows = read_all(file_of(pa.table(columns), compression))
    assert len(rows) == (0 if refused else 4)
    assert not any(row["unreadable"] for row in rows)


def table(**columns: Any) -> pa.Table:
    """Two documents, with more columns or others."""
    return pa.table({"document_id": ["a", "b"], "text": ["x", "y"], **columns})


def put(path: Path, rows: pa.Table, **more: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, **more)
    return path


def rows_in(folder: Path, columns: Columns = Columns()) -> list[dict[str, Any]]:  # noqa: B008
    tables = document_rows(find_input([str(folder)], columns).parts, columns)
    rows: list[dict[str, Any]] = pa.concat_tables(tables).to_pylist()
    return rows


def test_keys_in_paths_are_columns(tmp_path: Path) -> None:
    put(tmp_path / "company_id=acme" / "day=20240501" / "a.parquet", table())
    put(tmp_path / "company_id=__HIVE_DEFAULT_PARTITION__" / "day=x" / "b.parquet", table(company_id=["c", None]))
    rows = rows_in(tmp_path, Columns(document_date="day"))
    assert [r["company_id"] for r in rows] == [
        "c",
        "b",
        "acme",
        "acme",
    ]  # of the file's own column, where it has one
    assert [r["document_date"] for r in rows] == [None, None, "2024-05-01", "2024-05-01"]
    assert [r["unclear"] and r["unclear"][0]["column"] for r in rows] == [
        "document_date",
        "document_date",
        None,
        None,
    ]


def test_a_column_that_is_nowhere_is_the_operators_mistake(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", table(Headline=["t", "u"], firm=["f", "g"]))
    with pytest.raises(OperatorError) as caught:
        find_input([str(tmp_path)], Columns(company_id="frim"))
    assert "columns.company_id = frim: there is no such column (did you mean 'firm'?), but document_id" in str(
        caught.value
    )
    with pytest.raises(OperatorError, match="did you mean 'Headline'"):
        find_input([str(tmp_path)], Columns(title="headline"))
    (note,) = find_input([str(tmp_path)], Columns(title="Headline")).notes
    assert note == "there is no column 'company_id': each document is a company of its own"
    with pytest.raises(OperatorError, match=r"no column 'Text' \(did you mean 'text'\?\) among .* map it with"):
        find_input([str(tmp_path)], Columns(text="Text"))


def test_a_column_that_some_files_lack_or_that_differs_by_case_is_told(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", table(company_id=["c", "d"], Document_Type=["news", "news"]))
    put(tmp_path / "b.parquet", table(companyId=["c", "d"]))
    lacking, by_case = find_input([str(tmp_path)], Columns()).notes
    assert "1 of 2 files have no column 'company_id'" in lacking
    assert "b.parquet, which has 'companyId': there each document is a company of its own" in lacking
    assert by_case == (
        "there is no column 'document_type', but 'Document_Type': --set columns.document_type=Document_Type"
    )


BAD_COLUMNS = {
    "is list<": pa.array([["x"], []]),
    "is struct<": pa.array([{"x": 1}, None]),
    "is there 2 times": None,
}


def with_column(name: str, column: Any) -> pa.Table:
    """Two documents with a column that can't be read; None is one that stands there twice."""
    base = table(**{name: pa.array(["1", "2"]) if column is None else column})
    return base if column is not None else base.append_column(name, pa.array(["3", "4"]))


@pytest.mark.parametrize("why", BAD_COLUMNS)
@pytest.mark.parametrize("name", ["title", "document_date", "website"])
def test_a_bad_optional_column_costs_that_column(tmp_path: Path, name: str, why: str) -> None:
    put(tmp_path / "a.parquet", with_column(name, BAD_COLUMNS[why]))
    put(tmp_path / "b.parquet", table(**{name: ["2024", "2025"]}))
    found = find_input([str(tmp_path)], Columns())
    _, note = found.notes  # the first: there is no company_id
    assert note.startswith(f"column '{name}' {why}") and "in 1 of 2 files" in note and "a.parquet" in note
    assert [r[name] for r in rows_in(tmp_path)] == [None, None, "2024", "2025"]


@pytest.mark.parametrize("why", BAD_COLUMNS)
@pytest.mark.parametrize("name", ["document_id", "text", "company_id"])
def test_a_bad_column_that_is_needed_costs_its_file(tmp_path: Path, name: str, why: str) -> None:
    put(tmp_path / "in" / "a.parquet", with_column(name, BAD_COLUMNS[why]))
    with pytest.raises(OperatorError, match=f"column '{name}' {why}.*--set columns.{name}=COLUMN"):
        find_input([str(tmp_path / "in")], Columns())
    put(tmp_path / "in" / "b.parquet", table())
    found = find_input([str(tmp_path / "in")], Columns())
    assert [
        (d.documents, d.message.split(":")[0].startswith(f"column '{name}' {why}")) for d in found.dead_letters
    ] == [(2, True)]
    assert (found.rows, found.dead_documents) == (2, 2)
    assert find_input([str(tmp_path / "in")], Columns(), limit=1).dead_documents == 1


def corrupted(path: Path, column: str, group: int) -> None:
    """Overwrite a column's page in one row group."""
    footer = pq.ParquetFile(path)
    chunk = footer.metadata.row_group(group).column(footer.schema_arrow.get_field_index(column))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset : chunk.data_page_offset + 24] = b"\xff" * 24
    path.write_bytes(bytes(data))


def test_a_broken_page_costs_its_column_or_its_row_group(tmp_path: Path) -> None:
    many = pa.Table.from_pylist([{**row(n), "title": f"Title {n}"} for n in range(9)])
    path = put(tmp_path / "a.parquet", many, row_group_size=3, compression="none", use_dictionary=False)
    corrupted(path, "title", 1)
    corrupted(path, "text", 2)
    rows = rows_in(path)
    assert [r["document_id"] for r in rows] == ["d000", "d001", "d002", "d003", "d004", "d005", None]
    assert [r["title"] for r in rows] == ["Title 0", "Title 1", "Title 2", None, None, None, None]
    assert all("can't be read" in r["unclear"][0]["why"] for r in rows[3:6])
    assert "rows 6 to 8 can't be read" in rows[6]["unreadable"] and rows[6]["lost_rows"] == 3


@pytest.mark.parametrize("numbers", [pa.int8(), pa.int32(), pa.uint16(), pa.int64()], ids=str)
def test_a_dictionary_s_value_that_is_not_utf8_costs_its_rows(tmp_path: Path, numbers: pa.DataType) -> None:
    words = pa.array([b"one", b"\xff", b"two"]).view(pa.string())
    column = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 1, None], numbers), words)
    counts = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0, 1, None], numbers), pa.array([7, 8]))
    columns = {"document_id": list("abcde"), "text": column, "title": column, "company_id": counts}
    rows = rows_in(put(tmp_path / "a.parquet", pa.table(columns)))
    assert [r["text"] for r in rows] == [r["title"] for r in rows] == ["one", None, "two", None, None]
    assert [r["not_text"] for r in rows] == [bool(r["unclear"]) for r in rows] == [False, True, False, True, False]
    assert [r["company_id"] for r in rows] == ["7", "8", "7", "8", "e"]


@pytest.mark.parametrize("keeps_schema", [True, False])
def test_days_of_int96_do_not_wrap(tmp_path: Path, *, keeps_schema: bool) -> None:
    days = pa.array([datetime.datetime(9999, 12, 31), datetime.datetime(1000, 1, 1)], pa.timestamp("us"))
    put(tmp_path / "a.parquet", table(document_date=days), use_deprecated_int96_timestamps=True,
        store_schema=keeps_schema)  # fmt: skip
    assert [r["document_date"] for r in rows_in(tmp_path)] == ["9999-12-31", "1000-01-01"]


def test_types_that_parquet_tells_itself(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", table(document_id=pa.array([b"a" * 16, b"b" * 16], pa.uuid())), store_schema=False)
    assert [r["document_id"] for r in rows_in(tmp_path)] == [str(uuid.UUID(bytes=c * 16)) for c in (b"a", b"b")]


@pytest.mark.parametrize("keeps_schema", [True, False])
def test_what_is_small_by_a_dictionary_is_read_in_small_pieces(tmp_path: Path, *, keeps_schema: bool) -> None:
    texts = pa.DictionaryArray.from_arrays(pa.array([0, 1] * 400, pa.int32()), ["x" * 400_000, "y" * 10])
    ids = pa.array([str(n) for n in range(800)])
    path = put(tmp_path / "a.parquet", pa.table({"document_id": ids, "text": texts}), store_schema=keeps_schema,
               compression="zstd")  # fmt: skip
    (part,) = find_input([str(path)], Columns()).parts
    assert part.bytes < 1_000_000
    read = list(document_rows([part], Columns()))
    assert max(rows.nbytes for rows in read) < 18 << 20 and len(read) > 8
    assert [i for rows in read for i in rows["document_id"].to_pylist()] == ids.to_pylist()


def test_a_link_that_leads_nowhere_costs_itself(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", table())
    (tmp_path / "b.parquet").symlink_to(tmp_path / "nowhere")
    (tmp_path / "c.parquet").symlink_to(tmp_path / "c.parquet")
    found = find_input([str(tmp_path)], Columns())
    assert found.rows == 2
    assert [(Path(d.source_path).name, d.message) for d in found.dead_letters] == [
        ("b.parquet", "this link leads nowhere"), ("c.parquet", "this link leads nowhere"),
    ]  # fmt: skip


def test_the_same_file_by_two_paths_is_read_once(tmp_path: Path) -> None:
    put(tmp_path / "a.parquet", table())
    assert find_input([str(tmp_path), str(tmp_path / "a.parquet"), f"{tmp_path}/*.parquet"], Columns()).rows == 2
