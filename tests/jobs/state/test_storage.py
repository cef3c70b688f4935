"""Files are written whole or not at all, on disks and in object stores."""

import hashlib
import pickle
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import httpx2
import pyarrow as pa
import pytest
from botocore.exceptions import (  # type: ignore[import-untyped]
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from hypothesis import given
from hypothesis import strategies as st

from extraction.errors import OperatorError
from jobs.inputs.file_discovery import files_at
from jobs.stages.ray_cluster import reason
from jobs.state.published_run import PublishedRun
from jobs.state.storage import Storage, batched_by, explained, is_outage, storage_at
from tests.fakes.object_stores import BUCKET, object_store

TABLE = pa.table({"a": [1, 2, 3]})


@pytest.fixture(scope="module", params=["local", "memory", "s3", "gs"])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A disk, and stores: in memory, S3 and Google's, each of these two a server."""
    if request.param == "local":
        yield str(tmp_path_factory.mktemp("root"))
    elif request.param == "memory":
        yield "memory://root"
    else:
        with object_store(request.param):
            yield f"{request.param}://{BUCKET}"


@pytest.fixture
def storage(root: str, tmp_path: Path) -> Storage:
    return Storage(f"{root}/{tmp_path.name}")


def test_a_table_comes_back_and_its_digest_is_true(storage: Storage) -> None:
    written = storage.write_table("x/{sha}.parquet", TABLE)
    data = storage.read(written.path)
    assert data is not None
    assert (len(data), hashlib.sha256(data).hexdigest(), written.rows) == (written.bytes, written.sha256, 3)
    assert written.sha256.startswith(Path(written.path).stem)
    assert storage.read_table(written.path) == TABLE


@given(st.data())
def test_rows_are_read_by_their_numbers(data: st.DataObject) -> None:
    storage = Storage(f"memory://{uuid.uuid4().hex}")
    total = data.draw(st.integers(1, 30))
    storage.write_table("x.parquet", pa.table({"n": range(total)}), data.draw(st.integers(1, 7)))
    rows = sorted(data.draw(st.sets(st.integers(0, total - 1), min_size=1)))
    assert storage.read_rows("x.parquet", rows)["n"].to_pylist() == rows


def test_what_is_deleted_is_gone_and_what_is_not_there_does_not_matter(storage: Storage) -> None:
    storage.write("x/a.txt", b"1")
    storage.delete(["x/a.txt", "x/b.txt"])
    assert storage.list("x", ".txt") == []


def test_a_folder_is_deleted_with_all_that_is_in_it(storage: Storage) -> None:
    for path in ("x/a/1.txt", "x/a/b/2.txt", "x/c/3.txt", "x/4.txt"):
        storage.write(path, b"1")
    assert storage.folders("x") == ["a", "c"]
    storage.delete_folder("x/a")
    storage.delete_folder("x/nothing")
    assert storage.folders("x") == ["c"]
    assert storage.folders("nowhere") == []
    assert storage.read("x/4.txt") == b"1"


def test_a_file_of_this_machine_is_put_in_place_whole(storage: Storage, tmp_path: Path) -> None:
    local = tmp_path / "local.txt"
    for content in (b"first", b"second"):
        local.write_bytes(content)
        storage.put("x/there.txt", local)
        assert storage.read("x/there.txt") == content
    assert storage.list("x", "") == ["x/there.txt"]


def test_the_same_table_has_the_same_name(storage: Storage) -> None:
    assert storage.write_table("x/{sha}", TABLE) == storage.write_table("x/{sha}", TABLE)


def test_listing_is_sorted_and_leaves_out_other_files(storage: Storage) -> None:
    for name in ("b.parquet", "a.parquet", ".hidden.parquet", "c.txt"):
        storage.write(f"x/{name}", b"1")
    assert storage.list("x", ".parquet") == ["x/a.parquet", "x/b.parquet"]
    assert storage.list("nowhere", ".parquet") == []


def test_a_missing_file_reads_as_none(storage: Storage) -> None:
    assert storage.read("nothing.json") is None


def test_writing_replaces_whole(storage: Storage) -> None:
    storage.write("m.json", b"old" * 1000)
    storage.write("m.json", b"new")
    assert storage.read("m.json") == b"new"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    storage.write("m.json", b"old")
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(OSError, match=r"folder\.json"):
        storage.write("folder.json", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.json", "m.json"]


def test_it_travels_by_url_alone(storage: Storage) -> None:
    storage.write("a.txt", b"1")
    copy: Storage = pickle.loads(pickle.dumps(storage))
    assert copy == storage
    assert copy.read("a.txt") == b"1"


@pytest.mark.parametrize("odd", ["a::b", "[1]", "a?b", "100%", "a%20b", "two words", "#", "{x}", "a::b.c::d"])
def test_a_folder_of_any_name_is_that_folder(tmp_path: Path, odd: str) -> None:
    for url in (f"{tmp_path}/{odd}/out", f"file://{tmp_path}/{odd}/out", f"memory://{tmp_path.name}/{odd}"):
        storage = storage_at(url)
        storage.under("x").write_table("a.parquet", TABLE)
        assert storage.read_table("x/a.parquet") == Storage(storage.url).read_table("x/a.parquet") == TABLE
        assert storage.list("x", ".parquet") == ["x/a.parquet"]
    assert (tmp_path / odd / "out" / "x" / "a.parquet").is_file()


def test_a_store_without_credentials_is_the_operators_mistake(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    store = f"s3://{uuid.uuid4().hex}/x"
    for opened in (storage_at, files_at, PublishedRun.at):
        with pytest.raises(OperatorError, match="Unable to locate credentials: give credentials that may read"):
            opened(store)
    with pytest.raises(NoCredentialsError) as raised:
        Storage(store).read("a")
    assert isinstance(reason(raised.value), OperatorError)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (FileNotFoundError("The specified bucket does not exist"), "make the bucket"),
        (PermissionError("Access Denied"), "give credentials that may"),
        (PermissionError("The AWS Access Key Id you provided does not exist in our records."), "give credentials"),
        (PermissionError("The request signature we calculated does not match"), "give credentials"),
        (OSError(22, "The authorization header is malformed; the region 'x' is wrong; expecting 'y'"), "REGION"),
        (OSError(121, "The bucket must be addressed using the specified endpoint."), "AWS_DEFAULT_REGION"),
        (NoRegionError(), "AWS_DEFAULT_REGION"),
        (EndpointConnectionError(endpoint_url="http://x"), "AWS_ENDPOINT_URL"),
        (httpx2.ConnectError("[Errno -2] Name or service not known"), "see whether the store can be reached"),
        (ImportError("Install s3fs to access S3"), "the extra s3"),
    ],
)
def test_a_stores_refusal_has_a_remedy(error: Exception, remedy: str) -> None:
    with pytest.raises(OperatorError, match=remedy) as raised, explained("--output x"):
        raise error
    assert "\n" not in str(raised.value) and str(raised.value).startswith("--output x: ")


def test_what_is_no_stores_error_is_not_explained() -> None:
    with pytest.raises(ZeroDivisionError), explained("--output x"):
        raise ZeroDivisionError


def test_an_unknown_protocol_is_the_operators_mistake() -> None:
    with pytest.raises(OperatorError, match="nosuch://x can't be opened"):
        Storage("nosuch://x").read("a")


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (OSError("Corrupt snappy compressed data."), False),
        (pa.ArrowInvalid("Parquet magic bytes not found in footer"), False),
        (OSError(5, "Input/output error"), True),
        (PermissionError("Access Denied"), True),
        (TimeoutError("the store took too long"), True),
        (FileNotFoundError("no such key"), True),
        (NoCredentialsError(), True),
        (KeyError("x"), False),
    ],
)
def test_a_store_that_fails_is_told_from_torn_data(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage


@given(st.lists(st.integers(0, 9)), st.integers(1, 20))
def test_batches_are_neighbours_as_full_as_they_can_be(sizes: list[int], most: int) -> None:
    batches = list(batched_by(sizes, lambda size: size, most))
    assert [size for batch in batches for size in batch] == sizes
    assert all(sum(batch) <= most or len(batch) == 1 for batch in batches)
    assert all(sum(one) + following[0] > most for one, following in pairwise(batches))
