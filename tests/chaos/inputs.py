"""Input that can't be read, or is not what it should be: exactly that part is a dead letter."""

import uuid
from decimal import Decimal
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


@kind("input", "ids of other types in each file, for the same companies")
def ids_of_all_types(world: World) -> None:
    folder = world.folder / "in"
    folder.mkdir()
    companies = [1, 2, 3, 4]
    typed = {
        "integer": pa.array(companies, pa.int64()),
        "floating": pa.array(companies, pa.float64()),
        "decimal": pa.array([Decimal(n) for n in companies], pa.decimal128(10, 2)),
        "text": pa.array(map(str, companies), pa.string()),
        "dictionary": pa.array(map(str, companies)).dictionary_encode(),
    }
    for name, company_ids in typed.items():
        documents = [uuid.uuid5(uuid.NAMESPACE_URL, f"{name}{n}") for n in companies]
        world.ids |= set(map(str, documents))
        texts = [f"Northwind Works {n} makes pumps in Porto. It says so in {name} ids." for n in companies]
        ids = pa.array([one.bytes for one in documents], pa.binary(16)).cast(pa.uuid())
        pq.write_table(
            pa.table({"document_id": ids, "company_id": company_ids, "text": texts}), folder / f"{name}.parquet"
        )
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server), source=folder))
    world.census()
    profiles = helpers.rows_of(world.output, "profiles")
    assert sorted(profile["company_id"] for profile in profiles) == list(map(str, companies)), profiles
    assert all(len(profile["documents"]) == len(typed) for profile in profiles)


@kind("input", "a configured column that is nowhere; company ids in the paths alone")
def columns_elsewhere(world: World) -> None:
    folder = world.folder / "in"
    rows = [helpers.row(n) for n in range(12)]
    bare = pa.schema([(name, pa.string()) for name in ("document_id", "text")])
    for company in ("acme", "harrow"):
        mine = [{"document_id": f"{company}-{r['document_id']}", "text": r["text"]} for r in rows]
        helpers.write(folder / f"company_id={company}" / "part.parquet", mine, bare)
        world.ids |= {row["document_id"] for row in mine}
    with FakeServer() as server:
        command = world.command(world.endpoint(server), source=folder)
        said = world.run([*command, "--set", "columns.title=heading"], exits=2)
        assert "columns.title = heading" in said, said
        world.run(command)
    world.census()
    assert {p["company_id"] for p in helpers.rows_of(world.output, "profiles")} == {"acme", "harrow"}


@kind("input", "an optional column of another type, odd characters in the path")
def odd_column_and_path(world: World) -> None:
    world.documents(12)
    folder = world.folder / "in [1]? 100%25 a::b"
    folder.mkdir()
    table = pq.read_table(world.source).drop_columns(["title"])
    titles = pa.array([["a", "list"]] * table.num_rows)
    pq.write_table(table.append_column("title", titles), folder / "x.parquet")
    with FakeServer() as server:
        said = world.run(world.command(world.endpoint(server), source=folder))
    assert "title" in said, said
    world.census()
    assert not world.dead()


@kind("input", "the output in the input, and a table's folder for a folder of files")
def tables_and_own_output(world: World) -> None:
    folder = world.folder / "in"
    world.documents(12)
    helpers.write(folder / "part.parquet", [helpers.row(n) for n in range(12)])
    with FakeServer() as server:
        engine = world.endpoint(server)
        said = world.run(world.command(engine, source=folder, output=folder / "out"), exits=2)
        assert "--output" in said, said
        (folder / "_delta_log").mkdir()
        (folder / "_delta_log" / f"{0:020}.json").write_text('{"commitInfo": {}}\n')
        assert "Delta" in world.run(world.command(engine, source=folder), exits=2)
        (folder / "_delta_log" / f"{0:020}.json").unlink()
        (folder / "_delta_log").rmdir()
        world.run(world.command(engine, source=folder))
    world.census()


@kind("schema", "dates, choices and aliases, and values that the model refuses")
def own_schema(world: World) -> None:
    world.documents(12)
    schema = ["--schema", "tests.jobs.models:Filing", "--set", "prompt={instructions: 'Read. {fields}'}"]
    with FakeServer() as server:
        world.run(world.command(world.endpoint(server), *schema))
    world.census()
    assert not world.dead(), world.dead()
    profiles = helpers.rows_of(world.output, "profiles")
    assert all(profile["company"] for profile in profiles), profiles
    assert "form: string_pattern_mismatch" in helpers.manifest(world.output)["refused"]
