"""Input that can't be read, or is not what it should be: exactly that part is a dead letter."""

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.kinds import kind
from tests.chaos.world import World
from tests.fakes.process import FakeServer
from tests.jobs import helpers


def among_others(world: World, name: str, data: bytes) -> None:
    """A bad file among good ones is one dead letter, and all rows of the others are answered."""
    folder = world.folder / "in"
    world.documents(12)
    helpers.write(folder / "good.parquet", [helpers.row(n) for n in range(12)])
    (folder / name).write_bytes(data)
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server), source=folder))
    world.census()
    (dead,) = helpers.rows_of(world.output, "dead_letters")
    assert dead["fault"] == "unreadable" and dead["source_path"].endswith(name), dead


def more_rows(world: World) -> bytes:
    return helpers.write(world.folder / "more.parquet", [helpers.row(n) for n in range(20, 40)]).read_bytes()


@kind("input", "file cut off")
def cut_off(world: World) -> None:
    among_others(world, "bad.parquet", more_rows(world)[:-100])


@kind("input", "file of no bytes")
def no_bytes(world: World) -> None:
    among_others(world, "bad.parquet", b"")


@kind("input", "file that is not Parquet")
def not_parquet(world: World) -> None:
    among_others(world, "bad.parquet", b"document_id,text\nd1,hello\n")


@kind("input", "file of another schema")
def drifted(world: World) -> None:
    pq.write_table(pa.table({"id": [1], "body": ["x"]}), world.folder / "other.parquet")
    among_others(world, "bad.parquet", (world.folder / "other.parquet").read_bytes())


@kind("input", "bytes of a row group overwritten")
def corrupt_group(world: World) -> None:
    path = world.source
    rows = [helpers.row(n, text=f"{helpers.row(n)['text']} {'padding ' * 40}") for n in range(12)]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, path, row_group_size=3, compression="none", use_dictionary=False)
    column = pq.ParquetFile(path).metadata.row_group(1).column(table.schema.get_field_index("text"))
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 24] = b"\xff" * 24
    path.write_bytes(bytes(data))
    world.ids = {f"d{n:03}" for n in (0, 1, 2, *range(6, 12))}
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server)))
    world.census()


@kind("input", "rows without id, without text, not text, too large, twice")
def bad_rows(world: World) -> None:
    rows = [helpers.row(n) for n in range(12)]
    rows[1]["text"], rows[2]["text"], rows[3]["text"] = "", " \n", "x " * 600_000
    rows[4]["document_id"], rows[6] = None, helpers.row(5, text="Another text, by Harrow Ltd in York.")
    helpers.write(world.source, rows)
    world.ids = {row["document_id"] for row in rows if row["document_id"]}
    with FakeServer() as server:
        more = ("--set", "limits.max_document_bytes=1000000")
        world.run(world.command(world.endpoint(server), *more))
    world.census()
    faults = {"d001": "empty", "d002": "empty", "d003": "too_large", None: "missing_id", "d005": "duplicate_id"}
    assert world.dead() == faults, world.dead()


@kind("input", "text full of control characters, surrogates and no space at all")
def odd_text(world: World) -> None:
    odd = {
        1: "Northwind Works 1\x00\x07\x1b[31m makes pumps in Porto.",
        2: "x" * 40_000,
        3: "Northwind\u200b\u202e Works 3 makes pumps in Porto.\u2028",
        4: "e\u0301" * 3_000,
    }
    world.documents(8, texts=odd)
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server)))
    world.census()
