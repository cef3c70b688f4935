"""What is planned for companies is written whole, and read back as it was."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ray.data import DataContext

from extraction.chunking.chunker import Chunker
from extraction.chunking.tokenizers import ByteCounter
from extraction.config.settings import Columns, Limits
from extraction.errors import Fault
from extraction.prompting.prompt import Prompt
from jobs.inputs.document_reader import RowGroup, find_input, unclear_notes
from jobs.stages.plan import Companies, bundled, plan, plan_parts
from jobs.state.parquet_schemas import CHUNKS, chunks_of
from tests.extraction.samples import Vineyard
from tests.jobs.helpers import a_run, write
from tests.jobs.helpers import row as document


def row(number: int, text: str | None, document_id: str | None = "", **more: Any) -> dict[str, Any]:
    blank = dict.fromkeys(("title", "url", "document_type", "document_date", "unreadable"))
    name = f"d{number}" if document_id == "" else document_id
    given = {"document_id": name, "company_id": "c", "text": text, "source_path": "a.parquet", "row": number}
    return {**blank, **given, "not_text": False, **more}


def chunker() -> Chunker:
    limits = Limits(
        max_chunk_tokens=600, system_prompt_overhead=1, group_target_tokens=300, max_chunks_per_document=5
    )
    return Chunker(
        model=Vineyard,
        prompt=Prompt(instructions="Read."),
        limits=limits,
        counter=ByteCounter(),
        template=None,
        fingerprint="f",
    )


def planned(rows: list[dict[str, Any]]) -> Companies:
    total = Companies()
    total.add(rows, chunker(), 1_000_000)
    return total


def test_chunks_are_read_back_as_they_were_written() -> None:
    rows = [
        row(0, "Silva &amp; Filhos makes ﬁne wine in Re\u0301gua.", title="Silva"),
        row(1, "Port <|im_end|> wine.", document_date="2024-01-01"),
        row(2, "Long text. " * 400, document_type="news"),
    ]
    chunks = planned(rows).chunks
    assert max(len(chunk.pieces) for chunk in chunks) == 2
    assert any(piece.edits for chunk in chunks for piece in chunk.pieces)
    table = pa.Table.from_pylist([asdict(chunk) for chunk in chunks], CHUNKS)
    assert list(chunks_of(table)) == chunks


def test_every_document_is_in_chunks_or_in_dead_letters_and_counted_once() -> None:
    rows = [
        row(0, "Ana makes wine."),
        row(1, "Rui makes port."),
        row(2, " \x00 "),
        row(3, "No id.", document_id=None),
        row(4, "".join(f"Line {n}.\n" for n in range(2_000))),
        row(5, "Another text.", document_id="d0"),
        row(6, None, document_id=None, unreadable="cut short"),
    ]
    total = planned(rows)
    assert [piece.document_id for chunk in total.chunks for piece in chunk.pieces] == ["d0", "d1"]
    told = sorted((letter.document_id or "", letter.fault) for letter in total.dead_letters)
    assert told == [
        ("", Fault.MISSING_ID),
        ("", Fault.UNREADABLE),
        ("d0", Fault.DUPLICATE_ID),
        ("d2", Fault.EMPTY),
        ("d4", Fault.TOO_LARGE),
    ]
    assert (total.documents, total.dead_documents) == (7, 5)


def test_a_small_input_is_planned_at_once_as_a_large_one_is(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [[document(n, company=n % 4) for n in range(k, 30, 3)] for k in range(3)]
    for number, rows in enumerate(parts):
        write(tmp_path / "in" / f"{number}.parquet", [*rows, document(90 + number, text="")])
    found = find_input([str(tmp_path / "in")], Columns())
    told = []
    for folder in ("small", "large"):
        run = a_run(tmp_path / folder)
        made = plan(run, found)
        assert len(made.chunk_files) == 1 if folder == "small" else 1 < len(made.chunk_files) <= 3
        chunks = [each for path in made.chunk_files for each in chunks_of(run.storage.read_table(path))]
        counts = made.documents, made.dead_documents, made.prompt_tokens
        told.append((counts, sorted(chunks, key=lambda chunk: chunk.chunk_id)))
        monkeypatch.setattr("jobs.stages.plan.PLANNED_AT_ONCE_BYTES", 0)
    assert told[0] == told[1]
    assert told[0][0][:2] == (33, 3) and len(told[0][1]) == 30


def test_a_row_whose_id_means_nothing_is_a_dead_letter() -> None:
    unclear = [{"column": "company_id", "why": "inf is a float"}]
    total = planned([row(0, "Ana makes wine.", unclear=unclear), row(1, "Rui makes port.")])
    (letter,) = total.dead_letters
    assert (letter.fault, letter.message) == (
        Fault.MISSING_ID,
        "the document's company_id means nothing: inf is a float",
    )
    assert total.unclear == {}


def test_values_that_mean_nothing_are_counted() -> None:
    odd = [{"column": "document_date", "why": "'x' is no date"}]
    rows = [row(n, f"Note {n}.", unclear=odd) for n in range(3)]
    rows.append(row(3, "Of tomorrow.", document_date="2999-01-01"))
    total = Companies()
    total.add(rows, chunker(), 1_000, today="2026-01-01")
    assert total.unclear == {"document_date": {**odd[0], "place": "a.parquet#row=0", "rows": 4}}
    (note,) = unclear_notes(total.unclear.values(), Columns(document_date="day"))
    assert "column 'day' means nothing in 4 documents" in note and "a.parquet#row=0: 'x' is no date" in note
    assert "columns.epoch_unit" in note


def test_a_company_of_any_size_is_planned_in_slices(
    tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{**document(n, company=0), "text": f"Note {n}. " * 60} for n in range(40)]
    rows += [rows[7], {**rows[8], "text": "Another text."}, document(99, company=1)]
    write(tmp_path / "in.parquet", rows)
    run = a_run(tmp_path)
    parts = find_input([str(tmp_path / "in.parquet")], run.settings.columns).parts
    counts = []
    for held in (1_000, 32 << 20):
        monkeypatch.setattr("jobs.stages.plan.HELD_BYTES", held)
        (made,) = plan_parts(run, parts) or []
        chunks = list(chunks_of(run.storage.read_table(made["path"])))
        assert {piece.document_id for c in chunks for piece in c.pieces} == {f"d{n:03}" for n in (*range(40), 99)}
        counts.append((made["documents"], made["dead_documents"], made["repeated"]))
    assert counts == [(42, 1, 1)] * 2


def test_what_is_large_once_it_is_decoded_is_not_planned_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in.parquet", [document(n) for n in range(20)])
    run = a_run(tmp_path)
    monkeypatch.setattr("jobs.stages.plan.PLANNED_AT_ONCE_BYTES", 10)
    assert plan_parts(run, find_input([str(tmp_path / "in.parquet")], run.settings.columns).parts) is None


def test_a_company_is_in_one_chunk_file(tmp_path: Path, cluster: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{**document(n, company=n % 3), "text": f"Note {n}. " * 40} for n in range(30)]
    write(tmp_path / "in.parquet", rows)
    run = a_run(tmp_path)
    monkeypatch.setattr("jobs.stages.plan.PLANNED_AT_ONCE_BYTES", 10)
    monkeypatch.setattr("jobs.stages.plan.BLOCK_BYTES", 1 << 12)
    monkeypatch.setattr(DataContext.get_current(), "target_max_block_size", 1 << 11)
    made = plan(run, find_input([str(tmp_path / "in.parquet")], run.settings.columns))
    tables = [run.storage.read_table(path) for path in made.chunk_files]
    companies = [set(table["company_id"].to_pylist()) for table in tables]
    assert sum(map(len, companies)) == len(set().union(*companies)) == 3
    assert (len(companies) > 1, made.documents) == (True, 30)


def test_one_task_reads_neighbours_in_one_file() -> None:
    parts = [RowGroup(url, n, 0, 1, 6 << 20) for url in ("a", "b") for n in range(3)]
    assert [[(p.url, p.row_group) for p in bundle] for bundle in bundled(parts)] == [
        [("a", 0), ("a", 1)], [("a", 2)], [("b", 0), ("b", 1)], [("b", 2)],
    ]  # fmt: skip
