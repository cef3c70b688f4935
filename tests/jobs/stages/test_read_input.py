"""Input files are found, looked over and read into document rows."""

import io
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extraction.config.settings import Columns
from extraction.documents import admit
from extraction.errors import OperatorError
from jobs.stages.input_columns import refusal
from jobs.stages.read_input import document_rows, find_input
from jobs.state.tables import DOCUMENT_ROWS
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
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
    admit([row for row in rows if not row["unreadable"]], 1_000)
    return rows


def test_a_good_file_is_read_whole() -> None:
    assert len(read_all(GOOD)) == ROWS


@given(st.integers(0, len(GOOD)))
@SLOW
def test_a_file_cut_anywhere(length: int) -> None:
    rows = read_all(GOOD[:length])
    assert len(rows) in (0, ROWS)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255), st.integers(1, 40))
@SLOW
def test_a_file_with_bytes_changed_anywhere(at: int, by: int, length: int) -> None:
    data = bytearray(GOOD)
    for n in range(at, min(len(data), at + length)):
        data[n] ^= by
    read_all(bytes(data))


@given(st.binary(max_size=200))
@SLOW
def test_a_file_of_any_bytes(data: bytes) -> None:
    assert read_all(data) == []


@given(COLUMNS, COLUMNS, COLUMNS, COLUMNS, st.sampled_from(["none", "zstd", "snappy"]))
@SLOW
def test_columns_of_any_type(ids: Any, text: Any, company: Any, date: Any, compression: str) -> None:
    columns = {"document_id": ids, "text": text, "company_id": company, "document_date": date}
    refused = any(refusal(name, column.type) for name, column in columns.items() if name != "document_date")
    rows = read_all(file_of(pa.table(columns), compression))
    assert len(rows) == (0 if refused else 4)
    assert not any(row["unreadable"] for row in rows)
