"""Files under a root that may be a local folder or an object store, written whole or not at all."""

import contextlib
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, TypeVar

import fsspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from extraction.errors import OperatorError, ProfilesError, one_line

PROBE_FILE = ".probe"
STORE_THREADS = 16
STORE_LIBRARIES = {
    "botocore", "aiobotocore", "s3fs", "gcsfs", "google", "adlfs", "azure", "aiohttp", "huggingface_hub", "httpx",
    "httpx2",
}  # fmt: skip
MISTAKES = {  # of credentials and regions, by the names that boto and google-auth have for them
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound",
    "NoRegionError", "InvalidRegionError", "TokenRetrievalError", "SSOTokenLoadError",
    "UnauthorizedSSOTokenError", "DefaultCredentialsError", "RefreshError",
}  # fmt: skip
STORE_REMEDIES = {
    r"region|redirect|location ?constraint|(must|to) be addressed": "set AWS_DEFAULT_REGION to the bucket's region",
    r"credential|access key|accesskey|signature|token|profile|denied|forbidden|not authori|\b40[13]\b": "give "
    "credentials that may read and write there: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role "
    "for s3://, GOOGLE_APPLICATION_CREDENTIALS for gs://",
    r"bucket": "make the bucket, or correct its name",
    r"connect|resolve|endpoint": "see whether the store can be reached from here, and AWS_ENDPOINT_URL",
    r"no module|install|import": "install what opens it: the extra s3 or gcs of this package",
}


class StoredRecord(BaseModel):
    """Base of what is stored as JSON; a newer version may add keys."""

    model_config = ConfigDict(extra="ignore", frozen=True)


AnyRecord = TypeVar("AnyRecord", bound=StoredRecord)
Given = TypeVar("Given")
Made = TypeVar("Made")


class Written(StoredRecord):
    """A Parquet file that was written."""

    path: str = Field(description="Path in the output folder")
    rows: Annotated[int, Field(ge=0)] = Field(description="Number of rows")
    bytes: Annotated[int, Field(ge=0)] = Field(description="Size in bytes")
    sha256: str = Field(description="SHA-256 of the file, in hexadecimal")


WRITTEN_COLUMNS = pa.struct(
    [("path", pa.string()), ("rows", pa.int64()), ("bytes", pa.int64()), ("sha256", pa.string())]
)


def in_threads(function: Callable[[Given], Made], items: Iterable[Given]) -> list[Made]:
    """What a function that waits for a store gives for each item, several at a time."""
    with ThreadPoolExecutor(STORE_THREADS) as threads:
        return list(threads.map(function, items))


def batched_by(items: Iterable[Given], size: Callable[[Given], int], most: int) -> Iterator[list[Given]]:
    """Neighbours that are read together: as many as come to at most a size, at least one."""
    batch: list[Given] = []
    held = 0
    for item in items:
        if batch and held + size(item) > most:
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size(item)
    if batch:
        yield batch


def is_outage(error: Exception) -> bool:
    """Whether a store failed, rather than what it holds: such a run stops, and goes on another time.

    Arrow tells of torn data by a plain OSError without a number. Those of stores have numbers, or, on object
    stores, classes of their own: PermissionError, TimeoutError, FileNotFoundError.
    """
    torn = type(error) is OSError and error.errno is None
    return is_of_store(error) or (isinstance(error, OSError) and not torn)


def is_of_store(error: BaseException) -> bool:
    """Whether a library of an object store raised it: some of their errors are no OSErrors."""
    return type(error).__module__.partition(".")[0] in STORE_LIBRARIES


@contextlib.contextmanager
def suppress_outage() -> Iterator[None]:
    """What a store refuses or fails to do is not done."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise


def is_refusal(error: BaseException) -> bool:
    """Whether a store refuses whoever asks, by its credentials or region: the operator's mistake."""
    by_store = isinstance(error, PermissionError) and is_of_store(error.__cause__ or error)
    return by_store or (is_of_store(error) and type(error).__name__ in MISTAKES)


def with_remedy(error: BaseException) -> str:
    """The words of a store's error in one line, and what helps against it."""
    message = one_line(str(error), 300) or type(error).__name__
    for sign, remedy in STORE_REMEDIES.items():
        if re.search(sign, f"{type(error).__name__} {message}", re.IGNORECASE):
            return f"{message}: {remedy}"
    return message


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Raise OperatorError, with `what` and a remedy, for a path or a store that can't be opened in the block."""
    try:
        yield
    except ProfilesError:
        raise
    except Exception as error:
        if not (isinstance(error, (ImportError, ValueError, OSError)) or is_of_store(error)):
            raise
        raise OperatorError(f"{what}: {with_remedy(error)}") from None


CHAIN_LINK = re.compile(r"[a-z0-9]+|[a-z0-9+]+://.*")


def filesystem_at(url: str) -> tuple[Any, str]:
    """The fsspec filesystem of a path or URL, and the path in it. Raises ValueError for an empty one, which is not
    meant as the working directory.

    `::` joins filesystems (`simplecache::s3://...`) only where each part is one: else it belongs to a name.
    """
    if not url:
        raise ValueError("the path is empty, as a variable is that is not set")
    links = url.split("::")
    if len(links) > 1 and "://" in links[-1] and all(map(CHAIN_LINK.fullmatch, links)):
        filesystem, path = fsspec.url_to_fs(url)
        return filesystem, str(path)
    protocol = fsspec.core.split_protocol(url)[0] or "file"
    kind = fsspec.get_filesystem_class(protocol)
    return fsspec.filesystem(protocol, **kind._get_kwargs_from_urls(url)), str(kind._strip_protocol(url))


def open_file(url: str) -> Any:
    """A file to read, by its path or URL."""
    filesystem, path = filesystem_at(url)
    return filesystem.open(path, "rb")


def storage_at(given: str, flag: str = "--output") -> "Storage":
    """The storage at a path or URL, the same from any working directory. Raises OperatorError, which names the
    flag that gave it, if it can't be written to."""
    with explained(f"{flag} {given} can't be written to"):
        filesystem, path = filesystem_at(given)
        storage = Storage(str(filesystem.unstrip_protocol(path)))
        storage.write(PROBE_FILE, b"")
        storage.delete([PROBE_FILE])
    return storage


@dataclass(frozen=True)
class Storage:
    """A root, by path or URL (`s3://`, `gs://`, `file://`). Small enough to be sent to every task."""

    url: str

    @cached_property
    def _root(self) -> tuple[Any, str]:
        with explained(f"{self.url} can't be opened"):
            filesystem, path = filesystem_at(self.url)
        return filesystem, path.rstrip("/")

    def __reduce__(self) -> tuple[Any, ...]:
        return Storage, (self.url,)

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem of the root."""
        return self._root[0]

    def under(self, folder: str) -> "Storage":
        """The storage of a folder in this one."""
        return Storage(f"{self.url.rstrip('/')}/{folder}")

    def full(self, path: str) -> str:
        """A path under the root as the filesystem names it."""
        return f"{self._root[1]}/{path}" if path else self._root[1]

    def write(self, path: str, data: bytes) -> None:
        """Put a whole file in place; a reader sees the old one, the new one or none.

        Never streamed to its name: a writer that dies would leave half a file there, on disks and on S3.
        """
        target = self.full(path)
        if not isinstance(self.filesystem, LocalFileSystem):
            self.filesystem.pipe_file(target, data)
            return
        with _put_in_place(target) as partial, open(partial, "wb") as file:
            file.write(data)

    def write_record(self, path: str, record: StoredRecord) -> None:
        """Put a record in place, as JSON that people can read."""
        self.write(path, (record.model_dump_json(indent=2) + "\n").encode())

    def read_record(self, path: str, kind: type[AnyRecord]) -> AnyRecord | None:
        """A record; None where there is none that can be read."""
        data = self.read(path)
        try:
            return kind.model_validate_json(data) if data else None
        except ValidationError:
            return None

    def read_records(self, paths: Iterable[str], kind: type[AnyRecord]) -> "list[AnyRecord]":
        """Those of some records that can be read."""
        return [record for record in in_threads(lambda path: self.read_record(path, kind), paths) if record]

    def put(self, path: str, local: Path) -> None:
        """Put a file of this machine in place, whole as `write` does, without reading it into memory."""
        target = self.full(path)
        if not isinstance(self.filesystem, LocalFileSystem):
            self.filesystem.put_file(str(local), target)
            return
        with _put_in_place(target) as partial:
            shutil.copyfile(local, partial)

    def write_table(self, path: str, table: pa.Table, rows_per_group: int | None = None) -> Written:
        """Write a table as Parquet. The path may hold `{sha}`, which becomes the start of its digest."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", row_group_size=rows_per_group)
        data = sink.getvalue().to_pybytes()
        sha = hashlib.sha256(data).hexdigest()
        path = path.replace("{sha}", sha[:16])
        self.write(path, data)
        return Written(path=path, rows=table.num_rows, bytes=len(data), sha256=sha)

    def read(self, path: str) -> bytes | None:
        """A file's bytes, or None where there is none."""
        try:
            data: bytes = self.filesystem.cat_file(self.full(path))
        except FileNotFoundError:
            return None
        return data

    def read_table(self, path: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file's table."""
        with self.filesystem.open(self.full(path), "rb") as file:
            return pq.read_table(file, columns=columns)

    def read_rows(self, path: str, rows: Sequence[int] | npt.NDArray[np.int64]) -> pa.Table:
        """Some rows of a Parquet file, by their ascending numbers; row groups without any of them are not read."""
        with self.filesystem.open(self.full(path), "rb") as file:
            parquet = pq.ParquetFile(file)
            counts = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
            starts = np.cumsum([0, *counts])
            holder = np.searchsorted(starts, rows, "right") - 1
            groups = np.unique(holder)
            read = parquet.read_row_groups(groups.tolist())
        before = np.cumsum([0, *(counts[n] for n in groups)])  # rows read before those of each group
        return read.take(before[np.searchsorted(groups, holder)] + np.asarray(rows) - starts[holder])

    def schema(self, path: str) -> pa.Schema:
        """The columns of a Parquet file."""
        with self.filesystem.open(self.full(path), "rb") as file:
            return pq.read_schema(file)

    def read_batches(self, path: str, rows: int, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """A Parquet file's table, a number of rows at a time; `columns` may be leaves (`a.list.element.b`), those
        that are not there are left out."""
        with self.filesystem.open(self.full(path), "rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(rows, columns=columns):
                yield pa.Table.from_batches([batch])

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files, those that can be: who may write may not be allowed to."""
        for path in paths:
            with suppress_outage():
                self.filesystem.rm_file(self.full(path))

    def folders(self, parent: str) -> "list[str]":
        """The names of the folders in a folder; none where it is missing."""
        self.filesystem.invalidate_cache()
        try:
            entries = self.filesystem.ls(self.full(parent), detail=True)
        except FileNotFoundError:
            return []
        return sorted(
            str(one["name"]).rstrip("/").rsplit("/", 1)[-1] for one in entries if one["type"] == "directory"
        )

    def delete_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it, as far as that can be."""
        with suppress_outage():
            self.filesystem.rm(self.full(folder), recursive=True)

    def list(self, folder: str, suffix: str) -> list[str]:
        """Paths under the root of the files in a folder, in order; none where the folder is missing."""
        self.filesystem.invalidate_cache()
        try:
            entries = self.filesystem.ls(self.full(folder), detail=False)
        except FileNotFoundError:
            return []
        names = (str(name).rsplit("/", 1)[-1] for name in entries)
        return sorted(f"{folder}/{name}" for name in names if name.endswith(suffix) and not name.startswith("."))


@contextlib.contextmanager
def _put_in_place(target: str) -> Iterator[str]:
    """A name to write a file to, which takes the place of the target when it is whole; both outlast a loss of
    power."""
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    partial = f"{folder}/.{uuid.uuid4().hex}.partial"
    try:
        yield partial
        _sync(partial)
        os.replace(partial, target)
        _sync(folder)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
