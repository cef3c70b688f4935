"""What is published as a table that query engines know: Iceberg or Delta.

    iceberg:///FOLDER/NAMESPACE.TABLE    in a folder, with an SQL catalog of its own (SQLite) beside the data
    iceberg://CATALOG/NAMESPACE.TABLE    in a catalog of pyiceberg's configuration
    delta://PATH-OR-URL                  a Delta table

A commit makes a table hold what a manifest says is published, a row a company: new and changed companies are
written, those that vanished are deleted. It is one commit of the table's format, so readers see the publication
before or this one, whole. It leaves a digest of the publication in the table, so the same is not committed twice.
"""

import hashlib
import importlib
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from extraction.errors import OperatorError, ProfilesError, RunError, described_error
from jobs.state.manifest import Manifest
from jobs.state.storage import PROBE_FILE, Storage, Written

ROWS_WRITTEN_AT_ONCE = 5_000  # profiles with their evidence: some 20 MB
DELTA_FILE_BYTES = 128 << 20
RUN_MARK, CONTENT_MARK, WRITER_MARK = (f"company-profiles.{name}" for name in ("run-id", "content", "output"))
EXTRAS = {"iceberg": "pyiceberg", "delta": "deltalake"}
FORMS = "iceberg:///FOLDER/NAMESPACE.TABLE, iceberg://CATALOG/NAMESPACE.TABLE or delta://PATH-OR-URL is expected"


@dataclass(frozen=True)
class Commit:
    """What a commit leaves in a table: the output whose publication it holds, when that run began (as a number
    whose digits are the time), and a digest of the publication."""

    writer: str
    began: int
    content: int

    @classmethod
    def of(cls, storage: Storage, manifest: Manifest, schema: pa.Schema) -> "Commit":
        """What a commit of a publication is to leave."""
        described = [
            schema.to_string(show_field_metadata=False),
            *sorted(file.sha256 for file in manifest.profiles),
        ]
        digest = hashlib.sha256("\n".join(described).encode()).hexdigest()
        content = int(digest[:15], 16)  # fits a version of Delta's transactions
        return cls(storage.url, int(manifest.run_id[:8] + manifest.run_id[9:15]), content)


class OutputTable(Protocol):
    """A table of one format."""

    def last_commit(self, writer: str, schema: pa.Schema) -> Commit | None:
        """What an output committed last; None where it has not yet. Raises OperatorError where the table has rows
        of another writer, or can't take the profiles' columns."""

    def replace(self, commit: Commit, storage: Storage, manifest: Manifest, schema: pa.Schema) -> None:
        """Make the table hold the published profiles, in one commit."""

    def probe(self) -> None:
        """Write a file where the table is, and delete it. Raises whatever that fails of."""

    def location(self) -> str:
        """Where the table's files are, by URL."""


def table_at(given: str) -> OutputTable:
    """The table that `--output-table` gives. Raises OperatorError where that is none."""
    kind, separator, place = given.partition("://")
    catalog, _, name = place.rpartition("/")
    is_named = bool(catalog) and (catalog.startswith("/") or "/" not in catalog) and all(name.partition("."))
    if not separator or not place or kind not in EXTRAS or (kind == "iceberg" and not is_named):
        raise OperatorError(f"--output-table {given}: {FORMS}")
    try:
        importlib.import_module(EXTRAS[kind])
    except ImportError:
        raise OperatorError(
            f"--output-table {given}: {EXTRAS[kind]} is not installed: install the project with its `{kind}` extra"
        ) from None
    return DeltaOutput(place) if kind == "delta" else IcebergOutput(catalog, name)


def check_table(given: str, storage: Storage, schema: pa.Schema) -> None:
    """Raise OperatorError where a run into an output could not commit to a table."""
    try:
        table = table_at(given)
        table.last_commit(storage.url, schema)
        table.probe()
    except ProfilesError:
        raise
    except Exception as error:
        raise OperatorError(
            f"--output-table {given} can't be opened or written to: {described_error(error)}"
        ) from None


def commit_table(given: str, storage: Storage, manifest: Manifest, schema: pa.Schema) -> None:
    """Make a table hold what a manifest says is published, if it does not yet.

    Raises RunError where that fails; the table is then as it was.
    """
    commit = Commit.of(storage, manifest, schema)
    try:
        table = table_at(given)
        last = table.last_commit(commit.writer, schema)
        if last and last.content == commit.content:
            return
        if last and last.began > commit.began:
            raise RunError(f"published, but {given} has a run that began later, at {last.began} (UTC)")
        table.replace(commit, storage, manifest, schema)
    except ProfilesError:
        raise
    except Exception as error:
        raise RunError(
            f"published, but {given} is still the run before: {described_error(error)}. Run again"
        ) from None


def _require_own(name: str, has_rows: bool) -> None:
    if has_rows:
        raise OperatorError(
            f"--output-table: {name} has rows that were not written from this output, and a commit would replace "
            "them: name another table, or delete this one"
        )


def _misfit(name: str, error: Exception) -> OperatorError:
    return OperatorError(
        f"--output-table: {name} can't take the profiles' columns: {described_error(error)}: name another "
        "table, or delete this one"
    )


@dataclass(frozen=True)
class IcebergOutput:
    """An Iceberg table. `catalog` is a folder or the name of a configured catalog.

    A published file is written as data files that have its digest in their names, so a commit neither writes nor
    deletes what both publications have.
    """

    catalog: str
    name: str

    def _open(self) -> Any:
        if not self.catalog.startswith("/"):
            from pyiceberg.catalog import load_catalog

            return load_catalog(self.catalog)
        from pyiceberg.catalog.sql import SqlCatalog

        folder = Path(self.catalog)
        folder.mkdir(parents=True, exist_ok=True)
        return SqlCatalog("default", uri=f"sqlite:///{folder / 'catalog.db'}", warehouse=folder.as_uri())

    def last_commit(self, writer: str, schema: pa.Schema) -> Commit | None:
        """What an output committed last."""
        from pyiceberg.exceptions import NoSuchTableError, ValidationError

        with self._open() as catalog:
            try:
                table = catalog.load_table(self.name)
            except NoSuchTableError:
                return None
            try:
                table.update_schema().union_by_name(schema)  # without committing it
                if not table.spec().is_unpartitioned():
                    raise ValidationError("it is partitioned")
            except (ValidationError, ValueError) as error:
                raise _misfit(self.name, error) from None
            properties = table.properties
            if properties.get(WRITER_MARK) == writer:
                return Commit(writer, int(properties[RUN_MARK]), int(properties[CONTENT_MARK]))
            _require_own(self.name, any(table.scan().plan_files()))
            return None

    def replace(self, commit: Commit, storage: Storage, manifest: Manifest, schema: pa.Schema) -> None:
        """Make the table hold the published profiles, in one commit."""
        with self._open() as catalog:
            catalog.create_namespace_if_not_exists(self.name.rpartition(".")[0])
            table = catalog.create_table_if_not_exists(self.name, schema)
            published = {uuid.UUID(file.sha256[:32]): file for file in manifest.profiles}
            live = _live_files(table)
            rows = {digest: sum(file.record_count for file in files) for digest, files in live.items()}
            kept = {digest for digest, file in published.items() if rows.get(digest) == file.rows}
            change = table.transaction()
            with change.update_schema() as update:
                update.union_by_name(schema)
            change.set_properties(
                {WRITER_MARK: commit.writer, RUN_MARK: str(commit.began), CONTENT_MARK: str(commit.content)}
            )
            with change.update_snapshot(snapshot_properties={RUN_MARK: manifest.run_id}).overwrite() as snapshot:
                for file in chain.from_iterable(live[digest] for digest in live.keys() - kept):
                    snapshot.delete_data_file(file)
                for digest in published.keys() - kept:
                    for file in self._write(storage, published[digest], schema, change, table.io, commit.began):
                        snapshot.append_data_file(file)
            change.commit_transaction()

    def probe(self) -> None:
        """Write a file where the table is, once there is one, and delete it."""
        from pyiceberg.exceptions import NoSuchTableError

        with self._open() as catalog, suppress(NoSuchTableError):
            table = catalog.load_table(self.name)
            file = table.io.new_output(f"{table.location()}/{PROBE_FILE}")
            file.create(overwrite=True).close()
            table.io.delete(file)

    def location(self) -> str:
        """Where the table's files are, by URL."""
        with self._open() as catalog:
            return str(catalog.load_table(self.name).location())

    def _write(
        self, storage: Storage, published: Written, schema: pa.Schema, change: Any, io: Any, began: int
    ) -> Iterator[Any]:
        """Write a published file as data files, whose names have its digest and when the run began."""
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        rows = storage.read_table(published.path).cast(schema)
        numbers = count(began)  # in a file's name: no two commits write the same
        digest = uuid.UUID(published.sha256[:32])
        yield from _dataframe_to_data_files(change.table_metadata, rows, io, digest, numbers)


def _live_files(table: Any) -> dict[uuid.UUID, list[Any]]:
    """An Iceberg table's data files by the digest of the published file that they hold unchanged; any other
    digest where they hold none."""
    live = defaultdict[uuid.UUID, list[Any]](list)
    for task in table.scan().plan_files():
        live[uuid.uuid4() if task.delete_files else _digest_in(task.file.file_path)].append(task.file)
    return live


def _digest_in(path: str) -> uuid.UUID:
    """The digest in a data file's name; any other where it has none."""
    try:
        return uuid.UUID(path.rpartition("/")[2].removesuffix(".parquet")[-36:])
    except ValueError:
        return uuid.uuid4()


@dataclass(frozen=True)
class DeltaOutput:
    """A Delta table. A commit writes all rows: its format has no public way to keep some files of a table.

    When it was and what it holds are versions of two of Delta's application transactions, which outlast its
    history.
    """

    place: str

    def last_commit(self, writer: str, schema: pa.Schema) -> Commit | None:
        """What an output committed last."""
        from deltalake import DeltaTable

        if not DeltaTable.is_deltatable(self.place):
            return None
        table = DeltaTable(self.place)
        try:
            pa.unify_schemas([pa.schema(table.schema()), schema])
        except pa.ArrowException as error:
            raise _misfit(self.place, error) from None
        began, content = (table.transaction_version(name) for name in _transactions(writer))
        if began is not None and content is not None:
            return Commit(writer, began, content)
        _require_own(self.place, bool(table.file_uris()))
        return None

    def replace(self, commit: Commit, storage: Storage, manifest: Manifest, schema: pa.Schema) -> None:
        """Make the table hold the published profiles, in one commit."""
        from deltalake import CommitProperties, Transaction, write_deltalake

        marks = map(Transaction, _transactions(commit.writer), (commit.began, commit.content))
        # Without retries: of two that make a table at once, the second would add its rows to the first one's.
        properties = CommitProperties(
            {RUN_MARK: manifest.run_id}, max_commit_retries=0, app_transactions=list(marks)
        )
        write_deltalake(
            self.place,
            pa.RecordBatchReader.from_batches(schema, _batches(storage, manifest.profiles, schema)),
            mode="overwrite",
            schema_mode="merge",
            target_file_size=DELTA_FILE_BYTES,
            commit_properties=properties,
        )

    def probe(self) -> None:
        """Write a file where the table is, and delete it."""
        from deltalake.fs import DeltaStorageHandler

        if "://" not in self.place:
            Path(self.place).mkdir(parents=True, exist_ok=True)
        files = DeltaStorageHandler(self.place)
        files.open_output_stream(PROBE_FILE).close()
        files.delete_file(PROBE_FILE)

    def location(self) -> str:
        """Where the table's files are, by URL."""
        from deltalake import DeltaTable

        return str(DeltaTable(self.place).table_uri)


def _transactions(writer: str) -> tuple[str, str]:
    return f"{RUN_MARK} {writer}", f"{CONTENT_MARK} {writer}"


def _batches(storage: Storage, files: Sequence[Written], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for file in files:
        for table in storage.read_batches(file.path, ROWS_WRITTEN_AT_ONCE):
            yield from table.cast(schema).to_batches()
