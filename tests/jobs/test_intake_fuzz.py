"""Whatever stands in an input file: rows of one schema, or a dead letter for the part; never anything else."""

import io
import uuid
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from extraction.config.settings import Columns
from extraction.documents import admit
from extraction.errors import OperatorError
from jobs.stages.read_input import find, read
from jobs.state.tables import DOCUMENT_ROWS

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
        found = find([f"memory:/{path}"], Columns())
        tables = [table for part in found.parts for table in read(part, Columns())]
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
    rows = read_all(file_of(pa.table(columns), compression))
    assert len(rows) == 4 or any(row["unreadable"] for row in rows)
