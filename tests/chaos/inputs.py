"""Input that can't be read, or is not what it should be: exactly that part is a dead letter."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.chaos.kinds import kind
from tests.chaos.world import World
from tests.fakes.process import FakeServer
from tests.jobs import helpers


@kind("input", "files cut off, of no bytes, not Parquet, of another schema")
def bad_files(world: World) -> None:
    """Each is one dead letter, and all rows of the good file are answered."""
    folder = world.folder / "in"
    world.documents(12)
    helpers.write(folder / "good.parquet", [helpers.row(n) for n in range(12)])
    more = helpers.write(folder / "cut.parquet", [helpers.row(n) for n in range(20, 40)])
    more.write_bytes(more.read_bytes()[:-100])
    (folder / "empty.parquet").touch()
    (folder / "text.parquet").write_bytes(b"document_id,text\nd1,hello\n")
    pq.write_table(pa.table({"id": [1], "body": ["x"]}), folder / "other.parquet")
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server), source=folder))
    world.census()
    dead = {(row["fault"], Path(row["source_path"]).stem) for row in helpers.rows_of(world.output, "dead_letters")}
    assert dead == {("unreadable", name) for name in ("cut", "empty", "text", "other")}, dead


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
