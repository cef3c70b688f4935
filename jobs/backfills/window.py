"""One profile a company over a whole window, merged from what its partitions hold. No request is made.

    <output>/window/                                     a publication, as extract.py leaves one
    <output>/window/complete                             its run, once `current/` and the tables have it, too
    <output>/window/work/runs/<run>/window.json          the partitions that it was made of, and their chunk files
    <output>/window/work/runs/<run>/places.parquet       which companies are in each of these files, with what
    <output>/window/work/runs/<run>/buckets/<n>.parquet  what became of each company of a bucket

A company belongs to a bucket by its id, and a bucket is a file of profiles. Of a later window only companies are
merged of which partitions that came, went, or were published anew hold something else than before; the rows of all
others are copied. What a run knows of the one before stands under that one's id and counts when the manifest names
it: so a run that is killed changes nothing, and the next one starts from the same.

A document that several partitions have counts as the newest of them has it.
"""

import gc
import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import ray
import ray.data

from extraction.errors import RunError
from jobs.stages import publish, ray_cluster
from jobs.stages.reduce import (
    CHUNKS_MERGED_AT_ONCE,
    COLLECTED_AFTER,
    Gathered,
    Reduced,
    answered_chunks,
    company_row,
    gather,
)
from jobs.stages.run import Run
from jobs.state.ledger import ChunkState, Digests, Index, digests, find_ids, first_of_each, order
from jobs.state.manifest import Counts, Manifest, Tokens, read_manifest
from jobs.state.parquet_schemas import CHUNKS, DEAD_LETTERS, published_table
from jobs.state.run_record import folder_of
from jobs.state.storage import WRITTEN_COLUMNS, Storage, StoredRecord, Written, in_threads

WINDOW = "window"
COMPLETE = "complete"
COMPANIES_A_BUCKET = 5_000  # some 20 MB of profiles
FILES_A_TASK = 20  # at most, and fewer where they hold many companies
COMPANIES_A_TASK = 2_000
MERGED_AT_ONCE = 5_000  # companies, without a shuffle
TASKS_OF_FEW = 16
CONTENT = ("content_high", "content_low")
PLACES = pa.schema(
    [("high", pa.uint64()), ("low", pa.uint64()), *((name, pa.uint64()) for name in CONTENT), ("file", pa.int32())]
)
PLAN_COLUMNS = [name for name in CHUNKS.names if name != "content"]  # the chunk's id is a digest of that
COMPANY_PARTS = pa.schema(
    [
        ("bucket", pa.int32()),
        ("company_id", pa.string()),
        ("partition", pa.int32()),
        ("chunks", pa.int64()),
        ("answered", pa.int64()),
        ("gathered", pa.large_binary()),
    ]
)
COMPANIES = pa.schema(
    [
        ("company_id", pa.string()),
        ("documents", pa.int64()),
        ("chunks", pa.int64()),
        ("answered", pa.int64()),
        ("dead_letters", pa.list_(pa.struct(list(DEAD_LETTERS)))),
    ]
)
BUCKETS = pa.schema(
    [
        ("merged", pa.int64()),
        *((name, pa.int64()) for name in ("documents", "dead_documents", "chunks", "answered")),
        *((kind, WRITTEN_COLUMNS) for kind in ("profiles", "dead")),
    ]
)


class WindowRecord(StoredRecord):
    """What a publication of a window was made of: by what recipe, the run of each partition, the oldest first, and
    each chunk file with its partition."""

    recipe: str
    buckets: int
    partitions: dict[str, str]
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Places:
    """Which companies are in which chunk files: a file's number for each, by digest of the company's id, and the
    sum of digests of what the file holds of the company."""

    ids: Digests
    contents: Digests
    files: npt.NDArray[np.int32]

    @classmethod
    def read(cls, storage: Storage, path: str) -> "Places":
        """As they were written."""
        table = storage.read_table(path)
        ids, contents = (
            np.column_stack([table[name].to_numpy() for name in names]) for names in (("high", "low"), CONTENT)
        )
        return cls(ids, contents, table["file"].to_numpy())

    def write(self, storage: Storage, path: str) -> None:
        """Write them."""
        columns = [*np.ascontiguousarray(self.ids.T), *np.ascontiguousarray(self.contents.T), self.files]
        storage.write_table(path, pa.Table.from_arrays([pa.array(column) for column in columns], schema=PLACES))

    def of_files(self, some: Iterable[int]) -> "Places":
        """Those of some files."""
        chosen = np.isin(self.files, np.fromiter(some, np.int32))
        return Places(self.ids[chosen], self.contents[chosen], self.files[chosen])


@dataclass(frozen=True)
class LastWindow:
    """The publication of a window that is there."""

    manifest: Manifest
    record: WindowRecord

    @classmethod
    def read(cls, storage: Storage) -> "LastWindow | None":
        """None where nothing is published yet, or its record is gone."""
        published = read_manifest(storage)
        if published is None:
            return None
        record = storage.read_record(f"{folder_of(published.run_id)}/window.json", WindowRecord)
        return cls(published, record) if record else None

    @property
    def profiles(self) -> dict[int, str]:
        """The files of profiles by bucket."""
        return {int(file.path.rpartition("/")[2][:6]): file.path for file in self.manifest.profiles}

    def is_complete(self, storage: Storage) -> bool:
        """Whether `current/` and the tables have it, too."""
        return storage.read(COMPLETE) == self.manifest.run_id.encode()


def window_run(whole: Run, tables: Sequence[str]) -> Run:
    """The run that publishes the window of a backfill."""
    return replace(whole, storage=whole.storage.under(WINDOW), tables=tuple(tables))


def window_due(run: Run, partitions: Mapping[str, str], recipe: str) -> bool:
    """Whether the window that is published is not that of some partitions by a recipe."""
    last = LastWindow.read(run.storage)
    same = last is not None and (last.record.recipe, last.record.partitions) == (recipe, dict(partitions))
    return not (last and same and last.is_complete(run.storage))


def publish_window(run: Run, output: Storage, partitions: Mapping[str, str], recipe: str, index: Index) -> Manifest:
    """Publish a profile for each company of some partitions: the run of each by its path, the oldest first."""
    last = LastWindow.read(run.storage)
    if last and (last.record.recipe, last.record.partitions) == (recipe, dict(partitions)):
        published = last.manifest
    else:
        published = _publish(run, output, partitions, recipe, index, last)
    publish.finish_publication(run, published)
    run.storage.write(COMPLETE, published.run_id.encode())
    return published


def _publish(
    run: Run,
    output: Storage,
    partitions: Mapping[str, str],
    recipe: str,
    index: Index,
    last: LastWindow | None,
) -> Manifest:
    record, places, changed = _look_over(output, run.storage, partitions, recipe, index, last)
    if last and last.record.recipe == recipe and last.record.buckets == record.buckets:
        there = places.ids[_within(places.ids, changed)]
        reduced, counts = _reduce(run, output, record, places, changed, len(first_of_each(there)), index, last)
    else:
        reduced, counts = _reduce(run, output, record, places, None, len(first_of_each(places.ids)), index, None)
    run.record([*partitions], None).write(run.storage, {})
    run.storage.write_record(f"{run.folder}/window.json", record)
    places.write(run.storage, f"{run.folder}/places.parquet")
    return publish.replace_manifest(run, counts, Tokens(), (), reduced, reduced.dead_letters)


def _look_over(
    output: Storage,
    storage: Storage,
    partitions: Mapping[str, str],
    recipe: str,
    index: Index,
    last: LastWindow | None,
) -> tuple[WindowRecord, Places, Digests]:
    """What a window is made of, which companies are where, and, in order, those of which partitions that came,
    went, or were published anew hold something else than before. Only the plans of new runs are read."""
    before = last.record if last else WindowRecord(recipe=recipe, buckets=0, partitions={}, files=())
    none = digests([])
    old = Places(none, none, np.empty(0, np.int32))
    if last:
        old = Places.read(storage, f"{folder_of(last.manifest.run_id)}/places.parquet")
    same = {path for path, run_id in partitions.items() if before.partitions.get(path) == run_id}
    kept = [number for number, (path, _) in enumerate(before.files) if path in same]
    new_files = [
        (path, file)
        for path, run_id in partitions.items()
        if path not in same
        for file in _chunk_files(output, path, run_id)
    ]
    files = [*(before.files[number] for number in kept), *new_files]
    renumbered = np.full(len(before.files) + 1, -1, np.int32)
    renumbered[kept] = np.arange(len(kept))
    staying, gone = old.of_files(kept), old.of_files(set(range(len(before.files))) - set(kept))
    companies_by_file = in_threads(lambda each: _companies_in(output, each[1], index), new_files)
    numbers = [np.full(len(ids), len(kept) + n, np.int32) for n, (ids, _) in enumerate(companies_by_file)]
    ids, contents = (np.concatenate([none, *(each[n] for each in companies_by_file)]) for n in (0, 1))
    places = Places(
        np.concatenate([staying.ids, ids]),
        np.concatenate([staying.contents, contents]),
        np.concatenate([renumbered[staying.files], *numbers]).astype(np.int32),
    )
    touched, difference = _sums(np.concatenate([gone.ids, ids]), np.concatenate([0 - gone.contents, contents]))
    changed = touched[difference.any(axis=1)]
    companies = len(first_of_each(places.ids))
    buckets = -(-companies // COMPANIES_A_BUCKET)
    if before.buckets and buckets <= 2 * before.buckets:
        buckets = before.buckets
    record = WindowRecord(recipe=recipe, buckets=max(1, buckets), partitions=dict(partitions), files=tuple(files))
    return record, places, changed


def _chunk_files(output: Storage, path: str, run_id: str) -> list[str]:
    """The plan of a partition. Raises RunError where it is gone."""
    files = output.list(f"{path}/{folder_of(run_id)}/chunks", ".parquet")
    published = None if files else read_manifest(output.under(path))
    if published and published.counts.chunks:
        raise _gone(path, "its plan is gone")
    return files


def _gone(what: str, why: str) -> RunError:
    return RunError(
        f"{what}: {why}, and the window needs it: run once with --again, which asks for what is missing"
    )


def _companies_in(output: Storage, path: str, index: Index) -> tuple[Digests, Digests]:
    """The companies of a chunk file, and of each the sum of digests of its chunks; what has no answer yet counts as
    changed in every run of the partition."""
    table = output.read_table(path, PLAN_COLUMNS)
    answered = index.states(digests(table["chunk_id"].to_pylist())) == ChunkState.ANSWERED
    lines = (
        repr(row) if known else f"{row} {path}" for row, known in zip(table.to_pylist(), answered, strict=True)
    )
    return _sums(digests(table["company_id"].to_pylist()), digests(lines))


def _sums(ids: Digests, contents: Digests) -> tuple[Digests, Digests]:
    """Each of some ids once, in order, and the sum of its contents, modulo 2 to the 64."""
    ordered = order(ids)
    ids = ids[ordered]
    first = np.flatnonzero(np.append(True, (ids[1:] != ids[:-1]).any(axis=1))[: len(ids)])
    return ids[first], np.add.reduceat(contents[ordered], first) if len(first) else contents


def _within(ids: Digests, ordered: Digests) -> npt.NDArray[np.bool_]:
    """Which of some ids are among others, which are in order."""
    there = np.zeros(len(ids), bool)
    there[find_ids(ordered, ids)[0]] = True
    return there


@dataclass(frozen=True)
class SharedWindow:
    """What the tasks of a window share: the ledger's index, the companies to merge, in order (None for all), and of
    the publication before its run and its profiles by bucket."""

    index: Index
    changed: Digests | None
    last_run: str | None
    profiles: Mapping[int, str]

    def is_changed(self, companies: pa.ChunkedArray) -> pa.Array:
        """Which of some companies are to be merged."""
        if self.changed is None:
            return pa.array(np.ones(len(companies), bool))
        return pa.array(_within(digests(companies.to_pylist()), self.changed))


def _reduce(
    run: Run,
    output: Storage,
    record: WindowRecord,
    places: Places,
    changed: Digests | None,
    companies: int,
    index: Index,
    last: LastWindow | None,
) -> tuple[Reduced, Counts]:
    """Merge the companies that changed, and write all buckets with them."""
    numbers = places.files if changed is None else places.files[_within(places.ids, changed)]
    rank = {path: number for number, path in enumerate(record.partitions)}
    groups: list[dict[str, Any]] = [{"files": [], "buckets": record.buckets}]
    room = 0
    for n, theirs in zip(*np.unique(numbers, return_counts=True), strict=True):
        if room < theirs:
            groups.append({"files": [], "buckets": 0})
            room = COMPANIES_A_TASK
        groups[-1]["files"].append({"path": record.files[n][1], "partition": rank[record.files[n][0]]})
        room -= max(theirs, COMPANIES_A_TASK // FILES_A_TASK)
    shared = ray.put(
        SharedWindow(index, changed, last.manifest.run_id if last else None, last.profiles if last else {})
    )
    gathering, merging = (run, output, record.buckets, [shared]), (run, [shared])
    if companies <= MERGED_AT_ONCE:
        rows = _few(groups, gathering, merging)
    else:
        rows = (
            ray.data.from_items(groups, override_num_blocks=len(groups))
            .map_batches(gather_files, fn_args=gathering, batch_size=1, batch_format="pyarrow")
            .repartition(record.buckets, keys=["bucket"])
            .map_batches(merge_buckets, fn_args=merging, batch_size=None, batch_format="pyarrow")
            .take_all()
        )
    total = {name: sum(row[name] for row in rows) for name in BUCKETS.names[:5]}
    if total["merged"] != companies:
        raise RunError(
            f"the plans have {companies:,} companies to merge, and {total['merged']:,} were merged: the window is "
            "not published. Run again"
        )
    profiles, dead = (
        tuple(sorted((Written(**row[kind]) for row in rows if row[kind]), key=lambda file: file.path))
        for kind in ("profiles", "dead")
    )
    counts = Counts(
        documents=total["documents"] + total["dead_documents"],
        chunks=total["chunks"],
        chunks_answered=total["answered"],
        chunks_from_ledger=total["answered"],
        companies=sum(file.rows for file in profiles),
        dead_letters=sum(file.rows for file in dead),
        dead_documents=total["dead_documents"],
    )
    return Reduced(profiles, dead, total["documents"], total["dead_documents"], {}), counts


def _few(
    groups: Sequence[dict[str, Any]], gathering: tuple[Any, ...], merging: tuple[Any, ...]
) -> list[dict[str, Any]]:
    """The same for so few companies that a shuffle would take longer to begin than they take to be merged."""

    def gather_group(group: dict[str, Any]) -> pa.Table:
        return pa.concat_tables(gather_files(pa.Table.from_pylist([group]), *gathering))

    def merge_some(parts: pa.Table) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = merge_buckets(parts, *merging).to_pylist()
        return rows

    parts = pa.concat_tables(ray_cluster.map_tasks(gather_group, ((group,) for group in groups)))
    buckets = np.unique(parts["bucket"].to_numpy())
    some = (
        (parts.filter(pc.is_in(parts["bucket"], pa.array(b))),)
        for b in np.array_split(buckets, TASKS_OF_FEW)
        if len(b)
    )
    return [row for rows in ray_cluster.map_tasks(merge_some, some) for row in rows]


def gather_files(
    batch: pa.Table, run: Run, output: Storage, buckets: int, reference: Sequence[Any]
) -> Iterator[pa.Table]:
    """Ray Data: chunk files of partitions to what their companies' chunks come to. A row without a company stands
    for each bucket that is to be written."""
    gc.set_threshold(COLLECTED_AFTER)
    shared: SharedWindow = ray.get(reference[0])
    for item in batch.to_pylist():
        yield pa.Table.from_pylist([{"bucket": bucket} for bucket in range(item["buckets"])], COMPANY_PARTS)
        files = {file["path"]: file["partition"] for file in item["files"]}
        for path, companies in _gathered(run, output, [*files], shared):
            rows = [
                {
                    "bucket": bucket_of(gathered.company_id, buckets),
                    "company_id": gathered.company_id,
                    "partition": files[path],
                    "chunks": chunks,
                    "answered": answered,
                    "gathered": pickle.dumps(gathered),
                }
                for gathered, chunks, answered in companies
            ]
            yield pa.Table.from_pylist(rows, COMPANY_PARTS)


def bucket_of(company_id: str, buckets: int) -> int:
    """The bucket that a company belongs to."""
    return int(digests([company_id])[0, 0]) % buckets


def _gathered(
    run: Run, output: Storage, paths: Sequence[str], shared: SharedWindow
) -> Iterator[tuple[str, list[tuple[Gathered, int, int]]]]:
    """What the chunks of each file come to, by company, with the number of them and of those that have an answer.
    The ledger is read once for all files, which are small where there are many."""
    wanted = {path: _wanted(output, path, shared) for path in paths}
    chunk_ids = pa.chunked_array([keys["chunk_id"].combine_chunks() for keys in wanted.values()], pa.string())
    ids = digests(chunk_ids.to_pylist())
    states = shared.index.states(ids)
    if (states == ChunkState.UNKNOWN).any():
        first = chunk_ids[int(np.argmax(states == ChunkState.UNKNOWN))]
        path = next(
            path for path, keys in wanted.items() if pc.is_in(first, keys["chunk_id"].combine_chunks()).as_py()
        )
        raise _gone(path, "the ledger has no results of some of its chunks")
    answers = run.ledger.read(shared.index.places(ids), chunk_ids.combine_chunks())
    answered = set(chunk_ids.filter(pa.array(states == ChunkState.ANSWERED)).to_pylist())
    for path, keys in wanted.items():
        totals: dict[str, tuple[Gathered, int, int]] = {}
        companies = pc.unique(keys["company_id"])
        for table in output.read_batches(path, CHUNKS_MERGED_AT_ONCE):
            table = table.filter(pc.is_in(table["company_id"], value_set=companies))
            for company_id, group in groupby(answered_chunks(table, answers), key=lambda pair: pair[0].company_id):
                some = list(group)
                total, chunks, known = totals.get(company_id, (Gathered(company_id), 0, 0))
                total.update(gather(run.model, company_id, some, run.calibration))
                known += sum(chunk.chunk_id in answered for chunk, _ in some)
                totals[company_id] = total, chunks + len(some), known
        yield path, [*totals.values()]


def _wanted(output: Storage, path: str, shared: SharedWindow) -> pa.Table:
    """The chunks of a file whose companies are to be merged, by their ids."""
    try:
        keys = output.read_table(path, ["company_id", "chunk_id"])
    except FileNotFoundError:
        raise _gone(path, "this part of a plan is gone") from None
    return keys.filter(shared.is_changed(keys["company_id"]))


def merge_buckets(block: pa.Table, run: Run, reference: Sequence[Any]) -> pa.Table:
    """Ray Data: the parts of some buckets' companies to rows that tell what was written for each bucket."""
    gc.set_threshold(COLLECTED_AFTER)
    shared: SharedWindow = ray.get(reference[0])
    buckets = pc.unique(block["bucket"]).to_pylist()
    merged = [_write_bucket(run, n, block.filter(pc.equal(block["bucket"], n)), shared) for n in buckets]
    return pa.Table.from_pylist(merged, BUCKETS)


def _write_bucket(run: Run, bucket: int, parts: pa.Table, shared: SharedWindow) -> dict[str, Any]:
    """Write a bucket: companies that were merged, and the others as they were."""
    rows, companies = [], []
    parts = parts.filter(pc.is_valid(parts["company_id"]))
    parts = parts.sort_by([("company_id", "ascending"), ("partition", "descending")])
    for company_id, some in groupby(parts.to_pylist(), key=lambda part: part["company_id"]):
        company, row = _merged(run, company_id, list(some))
        companies.append(company)
        rows += [row] if row else []
    profiles = published_table(rows, run.model)
    state = pa.Table.from_pylist(companies, COMPANIES)
    if bucket in shared.profiles:
        profiles = _united(shared, run.storage.read_table(shared.profiles[bucket]), profiles)
    if shared.last_run:
        path = f"{folder_of(shared.last_run)}/buckets/{bucket:06}.parquet"
        state = _united(shared, run.storage.read_table(path), state)
    run.storage.write_table(f"{run.folder}/buckets/{bucket:06}.parquet", state)
    dead = pa.Table.from_struct_array(pc.list_flatten(state["dead_letters"].combine_chunks()))
    dead = dead.cast(DEAD_LETTERS)
    tables = {"profiles": (f"profiles/{run.run_id}", profiles), "dead": (f"dead_letters/{run.run_id}", dead)}
    written = {
        kind: run.storage.write_table(f"{folder}/{bucket:06}-{{sha}}.parquet", table)
        for kind, (folder, table) in tables.items()
        if table.num_rows
    }
    return {
        "merged": len(companies),
        **{name: pc.sum(state[name]).as_py() or 0 for name in ("documents", "chunks", "answered")},
        "dead_documents": pc.sum(dead["documents"]).as_py() or 0,
        **{kind: file.model_dump() for kind, file in written.items()},
    }


def _united(shared: SharedWindow, before: pa.Table, now: pa.Table) -> pa.Table:
    """The rows of companies that did not change, and those that were merged, in order."""
    same = before.filter(pc.invert(shared.is_changed(before["company_id"])))
    return pa.concat_tables([same.cast(now.schema), now]).sort_by("company_id")


def _merged(
    run: Run, company_id: str, parts: Sequence[dict[str, Any]]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """What became of a company, and its row if it has one, from its parts, the newest first."""
    total = Gathered(company_id)
    for part in parts:
        gathered: Gathered = pickle.loads(part["gathered"])
        gathered.drop(total.sources.keys() & gathered.sources.keys())
        total.update(gathered)
    merged = company_row(run, total)
    documents = merged.row["documents"] if merged.row else []
    accounted = [*documents, *(letter.document_id for letter in merged.dead_letters)]
    if sorted(accounted) != sorted(total.sources):
        raise RunError(
            f"of company {company_id} {len(total.sources)} documents went in and {len(accounted)} came out"
        )
    company = {
        "company_id": company_id,
        "documents": len(documents),
        "chunks": sum(part["chunks"] for part in parts),
        "answered": sum(part["answered"] for part in parts),
        "dead_letters": [asdict(letter) for letter in merged.dead_letters],
    }
    return company, merged.row
