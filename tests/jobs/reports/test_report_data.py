"""What a report tells is what the run left behind: counted again here, the plain way."""

import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from extraction.errors import Fault
from jobs import report
from jobs.reports import html_page as page_of
from jobs.reports.field_coverage import coverage
from jobs.reports.flow_chart import Flow
from jobs.reports.report_data import MEANINGS, failures, report_facts
from jobs.reports.request_stats import answers_of
from jobs.state import run_record
from jobs.state.published_run import PublishedRun
from tests.jobs import outputs
from tests.jobs.helpers import job, manifest, rows_of
from tests.jobs.reports import runs


@pytest.fixture(scope="module")
def out(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run in which some documents fail, with prices, a limit and a key."""
    rows = [runs.document(f"c{n // 3}", f"d{n}", runs.text(n // 2, n)) for n in range(30)]
    for number, fault in ((4, "invalid"), (9, "invalid"), (17, "truncated"), (20, "503*1")):
        rows[number]["text"] += f" [[fault:{fault}]]"
    rows[25]["text"] += "\n\nMore pumps. " * 300 + "[[fault:invalid]]"
    rows[29]["text"] = ""
    prices = ("--set", "price.million_prompt_tokens=1000", "--set", "price.currency=EUR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENAI_API_KEY", "a-secret")
        return runs.run(tmp_path_factory.mktemp("run"), rows, *prices, "--limit", "30")


@pytest.fixture
def again(out: Path, tmp_path: Path) -> Path:
    """A copy of it, which may be run once more: all answers are there."""
    return shutil.copytree(out, tmp_path / "out")


def once_more(out: Path, again: Path) -> int:
    return job(out.parent / "in.parquet", again, "http://127.0.0.1:9", "--set", "max_dead_fraction=1")


def ledger(out: Path) -> list[dict[str, Any]]:
    files = (out / "work" / "ledger").rglob("*.parquet")
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def page(out: Path) -> str:
    return (out / page_of.REPORT).read_text("utf-8")


def figures(out: Path) -> dict[str, str]:
    found = re.findall(r"<dt>(.*?)</dt><dd class=\"value\">(.*?)</dd>", page(out))
    return dict(found)


def test_answers_add_up_to_the_ledger(out: Path) -> None:
    found, rows = answers_of(PublishedRun.at(str(out))), ledger(out)
    assert found.total("answers") == sum(row["fault"] is None for row in rows)
    assert found.total("failed") == sum(row["fault"] is not None for row in rows) == 4
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "truncated"):
        assert found.total(name) == sum(row[name] for row in rows)
    assert found.attempts == Counter(row["attempts"] for row in rows)
    assert found.examples.keys() == {"invalid", "truncated"}
    began = min(row["ended_at"] - row["latency_s"] for row in rows)
    assert found.seconds == pytest.approx(max(row["ended_at"] for row in rows) - began)
    (server,) = found.servers
    assert (server.server, server.answers) == (rows[0]["server"], found.total("answers"))
    assert found.server_hours == pytest.approx(found.seconds / 3600)


def test_segments_that_were_joined_are_known_by_what_they_hold(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    files = list((tmp_path / "out" / "work" / "ledger").rglob("*.parquet"))
    whole = pa.concat_tables(map(pq.read_table, files))
    older = whole.set_column(whole.schema.names.index("ended_at"), "ended_at", pa.array([1e9] * whole.num_rows))
    for file in files:
        file.unlink()
    pq.write_table(pa.concat_tables([whole, older]), files[0].with_name("joined.parquet"))
    found, before = answers_of(PublishedRun.at(str(tmp_path / "out"))), answers_of(PublishedRun.at(str(out)))
    assert (found.done, found.seconds) == (before.done, before.seconds)


def test_latencies_are_told_to_five_per_cent(out: Path) -> None:
    found, rows = answers_of(PublishedRun.at(str(out))), ledger(out)
    latencies = sorted(row["latency_s"] for row in rows)
    assert found.latency.sum() == len(rows)
    middle = latencies[(len(latencies) - 1) // 2]
    assert middle * 0.95 < found.quantile(0.5) < middle * 1.06
    assert found.quantile(1) == pytest.approx(max(latencies), rel=0.06)


def test_a_run_that_asks_nothing_says_that_answers_came_from_the_ledger(out: Path, again: Path) -> None:
    assert once_more(out, again) == 0
    assert not answers_of(PublishedRun.at(str(again))).done
    assert "every answer came from the ledger" in page(again)
    assert not {"Server time", "Tokens", "Median answer"} & figures(again).keys()


def test_fields_are_counted_as_a_reader_would(out: Path) -> None:
    found, rows = coverage(PublishedRun.at(str(out))), rows_of(out, "profiles")
    assert found.companies == len(rows)
    assert found.with_conflicts == sum(bool(row["conflicts"]) for row in rows) > 0
    assert found.with_missing == sum(bool(row["chunks_missing"]) for row in rows) > 0
    assert found.missing == Counter(m["fault"] for row in rows for m in row["chunks_missing"])
    by_name = {field.name: field for field in found.fields}
    assert "name" in by_name and "ticker" in by_name
    for name, field in by_name.items():
        evidence = [e for row in rows for e in row["evidence"] if e["field"] == name]
        chosen = [e for e in evidence if e["chosen"]]
        assert field.companies == sum(row[name] not in (None, []) for row in rows)
        assert (field.values, field.support) == (len(chosen), sum(e["support"] for e in chosen))
        assert field.conflicts == sum(c["field"] == name for row in rows for c in row["conflicts"])
        assert field.loose == sum(not e["grounded"] and not e["chosen"] for e in evidence)


def test_failures_are_counted_by_class_with_examples(out: Path) -> None:
    found, dead = failures(PublishedRun.at(str(out))), rows_of(out, "dead_letters")
    assert found.by_class == Counter((row["stage"], row["fault"]) for row in dead)
    assert found.total == len(found.letters) == len(dead)
    assert [row["document_id"] for row in found.examples["plan", "empty"]] == ["d29"]
    assert MEANINGS.keys() == {fault.value for fault in Fault}


def test_the_page_tells_the_run(out: Path) -> None:
    said, counts = page(out), manifest(out)["counts"]
    assert figures(out)["Companies"] == str(counts["companies"])
    assert figures(out)["Dead documents"] == str(counts["dead_documents"])
    assert "30 documents became" in " ".join(said.split())
    assert f"{counts['chunks_answered']}</tspan> chunks answered" in said
    for told in (manifest(out)["fingerprint"], "max_chunk_tokens: 4200", "1 × endpoint", "http://127.0.0.1"):
        assert told in said


def test_the_flow_accounts_for_every_document_and_chunk(out: Path) -> None:
    published = PublishedRun.at(str(out))
    told, _ = report_facts(published, page_of.MAX_BYTES)
    flow = told["flow"]
    assert isinstance(flow, Flow)
    counts = published.manifest.counts
    documents, chunks, ends = ([band.count for band in bands] for bands in flow.stages)
    assert sum(documents) == sum(ends) == counts.documents
    assert sum(chunks) == counts.chunks
    assert ends[1] == counts.dead_letters


def test_what_a_run_was_told_is_written_down_without_secrets(out: Path) -> None:
    published = PublishedRun.at(str(out))
    found = run_record.read_run(published.storage, published.manifest.run_id)
    assert found is not None
    source = str(out.parent / "in.parquet")
    assert (found.engine, found.inputs, found.first_documents) == ("endpoint", (source,), 30)
    assert found.settings["limits"]["max_chunk_tokens"] == 4200
    assert found.seconds.keys() == {"plan", "extract", "reduce"}
    (told,) = run_record.read_servers(published.storage, published.manifest.run_id)
    assert (told.name, told.limit, told.starts) == ("endpoint", 32, 1)
    assert told.server == ledger(out)[0]["server"]
    written = [p for p in out.rglob("*") if p.suffix in (".json", ".html")]
    assert len(written) == 4
    assert not any("a-secret" in path.read_text("utf-8") for path in written)


def test_an_output_without_its_work_folder_has_a_report(tmp_path: Path) -> None:
    folder = outputs.publish(tmp_path / "out", {"alder": {"name": "Alder"}})
    assert report.main([str(folder)]) == 0
    assert "No answer of this run is at hand" in page(folder)
    assert "left no record of its settings" in page(folder)


def test_an_empty_run_has_a_report(tmp_path: Path, cluster: None) -> None:
    folder = runs.run(tmp_path, [])
    assert "0 documents became" in " ".join(page(folder).split())


def test_a_report_that_fails_fails_no_run(out: Path, again: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (again / page_of.REPORT).unlink()
    (again / page_of.REPORT / "in the way").mkdir(parents=True)
    assert once_more(out, again) == 0
    printed = capsys.readouterr()
    assert "report   could not be written: IsADirectoryError" in printed.err
    assert "report " not in printed.out
    assert report.main([str(again)]) == 1


def test_where_nothing_is_published_there_is_no_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert f"OUT {tmp_path}: there is no manifest.json" in capsys.readouterr().err


def test_costs_are_what_the_prices_say(out: Path) -> None:
    assert figures(out)["Cost"] == f"EUR {manifest(out)['tokens']['prompt'] / 1_000:,.2f}"
