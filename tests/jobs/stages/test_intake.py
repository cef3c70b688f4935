"""Input files are found, looked over and read into document rows."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.config.settings import Columns
from extraction.errors import OperatorError
from jobs.stages.read_input import find, read
from jobs.state.tables import DOCUMENT_ROWS
from tests.jobs.helpers import row, write


def test_parts_are_row_groups_in_order(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([row(n) for n in range(5)])
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    write(tmp_path / "b.parquet", [row(9)])
    found = find([str(tmp_path)], Columns())
    assert [(Path(p.url).name, p.row_group, p.first_row, p.rows) for p in found.parts] == [
        ("a.parquet", 0, 0, 2), ("a.parquet", 1, 2, 2), ("a.parquet", 2, 4, 1), ("b.parquet", 0, 0, 1),
    ]  # fmt: skip


def test_limit_cuts_within_a_part(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([row(n) for n in range(5)]), tmp_path / "a.parquet", row_group_size=2)
    found = find([str(tmp_path)], Columns(), limit=3)
    ids = [i for part in found.parts for t in read(part, Columns()) for i in t["document_id"].to_pylist()]
    assert ids == ["d000", "d001", "d002"]
    assert find([str(tmp_path)], Columns(), limit=0).parts == ()


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
    (part,) = find([str(tmp_path / "a.parquet")], Columns()).parts
    (rows,) = read(part, Columns())
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
        return [part.url.split("/.ours/")[1] for part in find([f"{root}{given}"], Columns()).parts]

    assert found("") == found("/") == found("/**") == ["_x=1/p.parquet", "a/b/p.parquet", "p.parquet"]
    assert found("/*/p.parquet") == ["_x=1/p.parquet"]
    assert found("/*/.tmp/*.parquet") == found("/a/.tmp") == ["a/.tmp/q.parquet"]
    assert found("/_x.parquet") == ["_x.parquet"]
    with pytest.raises(OperatorError, match="there are no Parquet files"):
        found("/*/0/*.parquet")
    assert found("/_temporary") == ["_temporary/0/p.parquet"]


def test_an_unknown_store_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match="nosuch://bucket/x can't be opened"):
        find(["nosuch://bucket/x"], Columns())
