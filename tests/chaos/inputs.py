"""Input that can't be read, or is not what it should be: exactly that part is a dead letter."""

import uuid
from decimal import Decimal

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
