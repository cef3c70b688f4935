"""Which companies a page shows: all that there is room for, the same ones each time."""

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.reports import html_page as page_of
from jobs.reports.company_sample import CompanySample, sample_companies
from jobs.state.published_run import PublishedRun
from jobs.state.storage import Storage
from tests.jobs import outputs
from tests.jobs.helpers import rows_of
from tests.jobs.reports import runs

CONFLICT = {"field": "name", "chosen": "A", "support": 2, "rule": "vote", "alternatives": []}
FAILING = runs.text(90, 1, " [[fault:invalid]]")
MISSING = {"chunk_id": "c", "document_id": "d", "start": 0, "end": 1, "fault": "invalid"}


@pytest.fixture(scope="module")
def out(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a run over 40 companies, and one whose document fails."""
    rows = [runs.document(f"c{n // 2:02}", f"d{n}", runs.text(n, n) + "\n\nMore. " * 50) for n in range(80)]
    rows.append(runs.document("dead", "dead", FAILING))
    return runs.run(tmp_path_factory.mktemp("run"), rows)


def drawn(out: Path, room: int, dead: set[str] | None = None) -> CompanySample:
    return sample_companies(PublishedRun.at(str(out)), ["name", "city"], dead or set(), room)


def size(found: CompanySample) -> int:
    return len(json.dumps(found.companies, ensure_ascii=False).encode())


def test_a_small_run_is_shown_whole(out: Path) -> None:
    found = drawn(out, page_of.MAX_BYTES)
    assert [company["id"] for company in found.companies] == [row["company_id"] for row in rows_of(out, "profiles")]
    assert found.of == len(found.companies) == 40
    texts = {row["document_id"]: row["text"] for row in (runs.document("", f"d{n}", "") for n in range(80))}
    assert {d["id"] for company in found.companies for d in company["documents"]} == set(texts)


def test_a_page_without_room_shows_some_and_the_same_ones_again(out: Path) -> None:
    found = drawn(out, 20_000)
    assert 0 < len(found.companies) < 40
    assert size(found) < 22_000
    assert drawn(out, 20_000).companies == found.companies
    more = {company["id"] for company in drawn(out, 60_000).companies}
    assert {company["id"] for company in found.companies} < more


def test_its_text_is_the_documents_own(out: Path) -> None:
    for company in drawn(out, page_of.MAX_BYTES).companies:
        for document in company["documents"]:
            number = int(document["id"][1:])
            text = runs.text(number, number) + "\n\nMore. " * 50
            assert document["parts"]
            for start, said, chunk, *_ in document["parts"]:
                assert text[start : start + len(said)] == said
                assert company["chunks"][chunk]["replies"]


def test_companies_that_need_a_look_come_first(tmp_path: Path) -> None:
    profiles: dict[str, dict[str, Any]] = {f"plain-{n:03}": {"name": "A"} for n in range(300)}
    profiles |= {f"disputed-{n}": {"name": "A", "conflicts": [CONFLICT]} for n in range(4)}
    profiles |= {f"lacking-{n}": {"name": "A", "chunks_missing": [MISSING]} for n in range(4)}
    found = drawn(outputs.publish(tmp_path, profiles), 6_000)
    names = [company["id"] for company in found.companies]
    assert len(names) < 60
    assert sum(name.startswith("disputed") for name in names) == 4
    assert sum(name.startswith("lacking") for name in names) == 4


def test_only_some_files_of_many_are_read(tmp_path: Path) -> None:
    folder = outputs.publish(tmp_path, {"alder": {"name": "A"}})
    published = PublishedRun.at(str(folder))
    (first,) = published.manifest.profiles
    gone = tuple(first.model_copy(update={"path": f"profiles/{n}.parquet"}) for n in range(20))
    kept = {0, 2, 5, 8, 10, 13, 16, 19}
    for number in kept:
        data = Storage(str(folder)).read(first.path)
        assert data
        (folder / f"profiles/{number}.parquet").write_bytes(data)
    many = PublishedRun(published.storage, published.manifest.model_copy(update={"profiles": gone}))
    assert sample_companies(many, ["name"], set(), 10_000).companies


def test_dead_documents_keep_their_text(out: Path) -> None:
    found = drawn(out, page_of.MAX_BYTES, {"dead"})
    (text,) = found.dead["dead"]["documents"]
    assert text["parts"][0][1] == FAILING
    assert found.dead["dead"]["chunks"][0]["fault"] == "invalid"
