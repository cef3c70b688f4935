"""Paths stand for the files that exist by their names, tell keys, and are neither tables nor what a run writes."""

import json
from pathlib import Path

import fsspec
import pytest

from extraction.errors import OperatorError
from jobs.inputs.file_discovery import files_at, is_broken_link, keys_in, refuse_own_output
from tests.jobs.helpers import row, write

ODD = ("[1]", "a?b", "a::b", "100%", "a%20b", "two words", "a*b", "x=[é]", "s3:", "#1", "{date}", "~", "!a")


def names(given: Path | str, root: Path) -> list[str]:
    return [url.removeprefix(f"file://{root}/") for url in files_at(str(given))]


@pytest.mark.parametrize("odd", ODD)
def test_a_path_that_exists_is_that_path(tmp_path: Path, odd: str) -> None:
    file = write(tmp_path / odd / f"{odd}.parquet", [row(0)])
    write(tmp_path / "1" / "1.parquet", [row(1)])
    write(tmp_path / "axb" / "axb.parquet", [row(1)])
    expected = [f"{odd}/{odd}.parquet"]
    assert names(file, tmp_path) == names(file.parent, tmp_path) == names(f"{file.parent}/", tmp_path) == expected
    assert names(f"file://{file}", tmp_path) == names(f"{file.parent}/*.parquet", tmp_path) == expected


def test_globs_of_what_does_not_exist_by_name(tmp_path: Path) -> None:
    for name in ("a1.parquet", "a2.PQ", "b1.parquet", "sub/a3.parquet"):
        write(tmp_path / name, [row(0)])
    assert names(tmp_path / "a[12].p*", tmp_path) == ["a1.parquet"]
    assert names(tmp_path / "a?.*", tmp_path) == ["a1.parquet", "a2.PQ"]
    assert names(tmp_path / "**" / "a*.parquet", tmp_path) == ["a1.parquet", "sub/a3.parquet"]
    with pytest.raises(OperatorError, match="there is no such file or folder"):
        files_at(str(tmp_path / "a::c"))


def test_folders_that_a_glob_finds_are_read_as_given_ones(tmp_path: Path) -> None:
    for name in (
        "day1.parquet/part-0.parquet",
        "day1.parquet/_temporary/part-1.parquet",
        "day2.parquet",
        "x/y/c.pq",
    ):
        write(tmp_path / "in" / name, [row(0)])
    (tmp_path / "in" / "day1.parquet" / "_SUCCESS").touch()
    store = fsspec.filesystem("memory")
    store.put(str(tmp_path / "in"), "/globbed", recursive=True)
    days = ["day1.parquet/part-0.parquet", "day2.parquet"]
    for root in (str(tmp_path / "in"), "memory://globbed"):
        start = "/globbed/" if "mem" in root else "/in/"
        for given, found in {"*.parquet": days, "*": [*days, "x/y/c.pq"], "?/*": ["x/y/c.pq"]}.items():
            assert [url.partition(start)[2] for url in files_at(f"{root}/{given}")] == found
    store.rm("/globbed", recursive=True)
    delta(tmp_path / "in" / "x")
    with pytest.raises(OperatorError, match="x is a Delta Lake table"):
        files_at(f"{tmp_path}/in/*")


def test_links_to_folders_are_followed_but_in_circles(tmp_path: Path) -> None:
    for name in ("in/a.parquet", "there/b.parquet", "further/c.parquet"):
        write(tmp_path / name, [row(0)])
    for link, target in {"in/day=1": "there", "there/more": "further", "further/back": "there", "in/in": "in",
                         "in/all": ".", "in/gone.parquet": "nowhere"}.items():  # fmt: skip
        (tmp_path / link).symlink_to(tmp_path / target)
    found = ["in/a.parquet", "in/day=1/b.parquet", "in/day=1/more/c.parquet", "in/gone.parquet"]
    assert names(tmp_path / "in", tmp_path) == found
    assert names(tmp_path / "in" / "d*", tmp_path) == found[1:3]
    assert names(tmp_path / "in" / "d*" / "*.parquet", tmp_path) == found[1:2]
    assert [is_broken_link(f"file://{tmp_path}/{each}") for each in found] == [False] * 3 + [True]


@pytest.mark.parametrize("given", ["in", "in/*"])
def test_an_output_that_a_link_leads_to_is_refused(tmp_path: Path, given: str) -> None:
    write(tmp_path / "in" / "a.parquet", [row(0)])
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    with pytest.raises(OperatorError, match=r"--output .* is within --input"):
        refuse_own_output([f"{tmp_path}/{given}"], f"{tmp_path}/out", "--output")


def test_an_empty_path_is_not_the_working_directory() -> None:
    with pytest.raises(OperatorError, match=r"^--input  can't be opened: the path is empty, as a variable is"):
        files_at("")


def test_chained_filesystems_are_still_opened(tmp_path: Path) -> None:
    file = write(tmp_path / "a.parquet", [row(0)])
    assert len(files_at(f"simplecache::file://{file}")) == 1


def test_keys_of_a_path() -> None:
    assert keys_in("s3://b/company_id=acme%3A1/day=2024-05-01/n=__HIVE_DEFAULT_PARTITION__/m=/x=1.parquet") == {
        "company_id": "acme:1", "day": "2024-05-01", "n": None, "m": None,
    }  # fmt: skip
    assert keys_in("/plain/part.parquet") == {}


def delta(root: Path) -> str:
    (root / "_delta_log").mkdir(parents=True)
    (root / "_delta_log" / f"{0:020}.json").write_text(json.dumps({"commitInfo": {}}))
    return "Delta Lake"


def hudi(root: Path) -> str:
    (root / ".hoodie").mkdir(parents=True)
    (root / ".hoodie" / "hoodie.properties").write_text("hoodie.table.name=t")
    return "Hudi"


def iceberg(root: Path) -> str:
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "v1.metadata.json").write_text("{}")
    return "Iceberg"


@pytest.mark.parametrize("made", [delta, hudi, iceberg])
def test_a_table_is_no_folder_of_files(tmp_path: Path, made: object) -> None:
    root = tmp_path / "lake" / "docs"
    assert callable(made)
    kind = made(root)
    for name in ("data/day=1/a.parquet", "day=1/b.parquet", "c.parquet"):
        write(root / name, [row(0)])
    inner = ("", "day=1", "data", "data/day=1", "*.parquet", "day=*/*.parquet", "data/*/*.parquet", "**/*.parquet")
    for given in (tmp_path, tmp_path / "lake", *(root / name for name in inner)):
        with pytest.raises(OperatorError, match=f"docs is a {kind} table, .*Export what is: duckdb"):
            files_at(str(given))
    assert len(files_at(str(root / "c.parquet"))) == 1  # asked for by its name


def test_a_folder_named_as_a_log_is_none(tmp_path: Path) -> None:
    write(tmp_path / "in" / "metadata" / "a.parquet", [row(0)])
    assert len(files_at(str(tmp_path / "in"))) == 1


@pytest.mark.parametrize(
    ("given", "output", "within"),
    [
        ("in", "in", True),
        ("in", "in/out", True),
        ("in/", "in/../in/out/deep", True),
        ("file://{root}/in", "in/out", True),
        ("link", "in/out", True),
        ("in/**/*.parquet", "in/out", True),
        ("in/*/*/*/*.parquet", "in/out", True),
        ("in/out/profiles", "in/out", True),
        ("in/out/current", "in/out", True),
        ("in/*/profiles.parquet", "in/out", False),
        ("in/out/*/profiles.parquet", "in/out", True),
        ("in/*", "in/out", True),
        ("in/[o]*", "in/out2", True),
        ("in/[n]*", "in/out", False),
        ("in", "out", False),
        ("in", "in2", False),
        ("in", "in/_out", False),
        ("in/*.parquet", "in/out", False),
        ("in/a.parquet", "in", False),
        ("in", "memory://in/out", False),
    ],
)
def test_an_output_within_the_input_is_refused(tmp_path: Path, given: str, output: str, *, within: bool) -> None:
    write(tmp_path / "in" / "a.parquet", [row(0)])
    write(tmp_path / "in" / "out" / "profiles" / "r" / "a.parquet", [row(0)])
    write(tmp_path / "in" / "out" / "current" / "profiles.parquet", [row(0)])
    write(tmp_path / "in" / "other" / "profiles.parquet", [row(0)])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    source = given.format(root=tmp_path) if "://" in given else f"{tmp_path}/{given}"
    folder = output if "://" in output else f"{tmp_path}/{output}"
    if not within:
        refuse_own_output([source], folder, "--output")
        return
    with pytest.raises(OperatorError, match=r"--output .* is within --input .*: give a place beside the input"):
        refuse_own_output([source], folder, "--output")
    fsspec.filesystem("file").invalidate_cache()
