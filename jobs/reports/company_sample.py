"""The companies that a report shows whole: all of a small run, of a large one as many as its page has room for.

Which ones is decided by a digest of their ids, so that the same run gives the same page. Companies with conflicts,
with missing chunks and without either take turns. Of a large run only some files are looked at. In the page's data
fields, documents and chunks are named by number, which takes a third of the room.
"""

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress, islice, zip_longest
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from extraction.chunking.chunker import Chunk, originals
from jobs.state.parquet_schemas import chunks_of
from jobs.state.published_run import CHUNKS_READ_AT_ONCE, PublishedRun
from jobs.state.storage import in_threads

ProfileRow = dict[str, Any]
NumberOf = Mapping[str, int]
UNKNOWN = -1  # the number of a document that nothing is known of


def entry(
    row: ProfileRow, chunks: Sequence[Chunk], answers: Mapping[str, ProfileRow], fields: NumberOf
) -> ProfileRow:
    """A published profile, with its documents as far as its chunks are given."""
    texts = texts_of(chunks, answers)
    documents = {document["id"]: n for n, document in enumerate(texts["documents"])}
    for document_id in row["documents"]:
        if document_id not in documents:
            documents[document_id] = len(documents)
            texts["documents"].append({"id": document_id, "parts": []})
    return {
        "id": row["company_id"],
        "evidence": [_evidence(e, fields, documents) for e in row["evidence"] if e["field"] in fields],
        "conflicts": [_conflict(c, fields, documents) for c in row["conflicts"] if c["field"] in fields],
        "missing": [
            [documents.get(m["document_id"], UNKNOWN), m["start"], m["end"], m["fault"]]
            for m in row["chunks_missing"]
        ],
        **texts,
    }


def _evidence(row: ProfileRow, fields: NumberOf, documents: NumberOf) -> list[Any]:
    values = fields[row["field"]], row["value"], int(row["chosen"]), int(row["grounded"]), row["support"]
    sure = None if row["confidence"] is None else round(row["confidence"], 3)
    return [*values, [_place(place, documents) for place in row["places"]], sure]


def _conflict(row: ProfileRow, fields: NumberOf, documents: NumberOf) -> list[Any]:
    others = [
        [other["value"], other["support"], other["newest"], other["place"] and _place(other["place"], documents)]
        for other in row["alternatives"]
    ]
    return [fields[row["field"]], row["chosen"], row["support"], row["rule"], others]


def _place(place: ProfileRow, documents: NumberOf) -> list[Any]:
    return [documents.get(place["document_id"], UNKNOWN), place["start"], place["end"], place["quote"]]


def texts_of(chunks: Sequence[Chunk], answers: Mapping[str, ProfileRow]) -> ProfileRow:
    """Documents put together from chunks, and what became of each chunk."""
    numbers = {chunk.chunk_id: n for n, chunk in enumerate(chunks)}
    documents = [
        {
            "id": document.document_id,
            "type": document.document_type,
            "date": document.document_date,
            "source": document.source_path,
            "parts": [
                [part.start, part.text, numbers[part.chunk_id], *([part.unread] if part.unread else [])]
                for part in document.parts
            ],
        }
        for document in originals(chunks)
    ]
    outcomes = [{"tokens": chunk.prompt_tokens, **answers.get(chunk.chunk_id, {})} for chunk in chunks]
    return {"documents": documents, "chunks": outcomes}


FILES = 8  # of profiles looked at; more than a page holds stand in them
SAMPLE_ROWS_READ = 1_000  # profiles read at a time
ANSWERS_UP_TO = 250_000  # chunks of a run; in a larger one, single answers are not looked up
DEAD_SHOWN = 200  # documents without a profile whose text is shown
MOST_COMPANIES = 5_000  # that are looked at
LARGEST_SHARE = 4  # a company's text takes at most this part of the room


@dataclass
class CompanySample:
    """Companies and dead documents as the page's data has them, and of how many companies."""

    companies: list[ProfileRow] = field(default_factory=list)
    dead: dict[str, ProfileRow] = field(default_factory=dict)
    of: int = 0


def sample_companies(
    published: PublishedRun, names: Sequence[str], dead: Collection[str], max_bytes: int
) -> CompanySample:
    """As many companies as `max_bytes` hold; `names` are the fields, `dead` documents without a profile."""
    chunks, lost = _chunks(published, islice(_candidates(published), MOST_COMPANIES), set(dead), max_bytes)
    answers = _answers(published, [chunk.chunk_id for many in (*chunks.values(), *lost.values()) for chunk in many])
    numbers = {name: n for n, name in enumerate(names)}
    rows = {row["company_id"]: row for row in _profiles(published, chunks.keys())}
    sampled = CompanySample(of=published.manifest.counts.companies)
    for document_id, theirs in lost.items():
        max_bytes -= _bytes(sampled.dead.setdefault(document_id, texts_of(theirs, answers)))
    for company_id, theirs in chunks.items():
        made = entry(rows[company_id], theirs, answers, numbers)
        max_bytes -= _bytes(made)
        if max_bytes < 0 and sampled.companies:
            break
        sampled.companies.append(made)
    sampled.companies.sort(key=lambda made: str(made["id"]))
    return sampled


def _candidates(published: PublishedRun) -> Iterator[str]:
    """Companies in the order in which they get room."""
    conflicting: list[str] = []
    lacking: list[str] = []
    others: list[str] = []
    for path in _some([file.path for file in published.manifest.profiles], FILES):
        leaves = ["company_id", "conflicts.list.element.field", "chunks_missing.list.element.fault"]
        for batch in published.storage.read_batches(path, SAMPLE_ROWS_READ, leaves):
            lengths = (pc.list_value_length(batch[name]).to_pylist() for name in ("conflicts", "chunks_missing"))
            for company_id, disputed, missing in zip(batch["company_id"].to_pylist(), *lengths, strict=True):
                (lacking if missing else conflicting if disputed else others).append(company_id)
    turns = zip_longest(*(sorted(ids, key=_sampling_key) for ids in (conflicting, lacking, others)))
    return (company_id for company_id in chain.from_iterable(turns) if company_id is not None)


def _sampling_key(company_id: str) -> tuple[int, str]:
    return zlib.crc32(company_id.encode("utf-8", errors="surrogatepass")), company_id


def _some(paths: Sequence[str], most: int) -> list[str]:
    """At most so many of them, evenly spaced."""
    if len(paths) <= most:
        return list(paths)
    return [paths[n * (len(paths) - 1) // (most - 1)] for n in range(most)]


def _chunks(
    published: PublishedRun, companies: Iterable[str], dead: set[str], max_bytes: int
) -> tuple[dict[str, list[Chunk]], dict[str, list[Chunk]]]:
    """The chunks of some companies, and of some dead documents. Of one company up to a share of `max_bytes` is
    kept; where all would be more than that, the last companies are given up."""
    chunks: dict[str, list[Chunk]] = {company_id: [] for company_id in companies}
    lost: dict[str, list[Chunk]] = {}
    ordered, lost_ids = sorted(chunks), pa.array(sorted(dead), pa.string())
    held: Counter[str] = Counter()
    files, wanted, most = published.chunk_files, pa.array(ordered, pa.string()), max_bytes // LARGEST_SHARE
    hold = in_threads(lambda path: published.may_hold(path, ordered), files if chunks else ())
    for path in compress(files, hold) if chunks else files[:FILES]:
        for batch in published.storage.read_batches(path, CHUNKS_READ_AT_ONCE):
            mask = pc.is_in(batch["company_id"], value_set=wanted)
            if dead:
                mask = pc.or_(mask, _speaks_of(batch["pieces"], lost_ids, batch.num_rows))
            for chunk in chunks_of(batch.filter(mask)):
                held[chunk.company_id] += len(chunk.content)
                size = held[chunk.company_id]
                if chunk.company_id in chunks and size <= max(most, len(chunk.content)):
                    chunks[chunk.company_id].append(chunk)
                for document_id in {piece.document_id for piece in chunk.pieces} & dead:
                    if size <= most and (document_id in lost or len(lost) < DEAD_SHOWN):
                        lost.setdefault(document_id, []).append(chunk)
            while len(chunks) > 1 and sum(min(held[company_id], most) for company_id in chunks) > max_bytes:
                chunks.popitem()
    return chunks, lost


def _speaks_of(pieces: pa.ChunkedArray, documents: pa.Array, rows: int) -> pa.Array:
    """Which chunks hold a piece of some documents."""
    ids = pc.struct_field(pc.list_flatten(pieces), "document_id")
    theirs = pc.list_parent_indices(pieces).filter(pc.is_in(ids, value_set=documents))
    return pc.is_in(pa.array(range(rows), pa.int64()), value_set=pc.cast(theirs.combine_chunks(), pa.int64()))


def _answers(published: PublishedRun, chunk_ids: Sequence[str]) -> dict[str, ProfileRow]:
    """What the ledger has of some chunks, as the page shows it."""
    few = published.manifest.counts.chunks <= ANSWERS_UP_TO
    rows = published.answers(chunk_ids).to_pylist() if few and chunk_ids else []
    return {
        row["chunk_id"]: {
            "fault": row["fault"],
            "message": row["message"],
            "attempts": row["attempts"],
            "seconds": round(row["latency_s"] or 0, 2),
            "replies": row["replies"],
        }
        for row in rows
    }


def _profiles(published: PublishedRun, companies: Collection[str]) -> Iterator[ProfileRow]:
    wanted = pa.array(sorted(companies), pa.string())
    names = ["company_id", "documents", "chunks_missing", "evidence", "conflicts"]
    for path in _some([file.path for file in published.manifest.profiles], FILES):
        for batch in published.storage.read_batches(path, SAMPLE_ROWS_READ, names):
            yield from batch.filter(pc.is_in(batch["company_id"], value_set=wanted)).to_pylist()


def _bytes(row: ProfileRow) -> int:
    return len(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", errors="replace"))
