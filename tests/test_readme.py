"""What the README and the pages in docs/ say can be done: commands are run or parsed, what they name is there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from extraction.schema.company import CompanyProfile, ShortProfile
from extraction.schema.profile_model import facts
from jobs import demo, evaluate, extract, report, show
from jobs.cli import demo_documents
from jobs.state.output_table import commit_table
from jobs.state.parquet_schemas import profile_schema, published_table
from jobs.state.published_run import PublishedRun
from tests.conftest import ROOT
from tests.fakes.process import FakeServer
from tests.jobs.helpers import OUR_LINES, job, rows_of
from tests.readme import Script, Wrong, check

README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
LONGEST = 150  # lines of the README: one screen, and where to read on
ENDPOINT = "http://127.0.0.1:8000/v1"  # what the README calls an endpoint
OWN = re.compile(r"^```\w+\n# (?P<path>mine/\S+)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ACME = {
    "company_id": "acme",
    "identity": {
        "legal_name": "Acme Ltd",
        "founded_year": 1901,
        "identifiers": [
            {"scheme": "TICKER", "value": "ACM", "issuer": "LSE"},
            {"scheme": "VAT", "value": "GB1", "issuer": None},
        ],
    },
    "scale": {"employees": 240},
    "offerings": {"items": [{"name": "pumps", "kind": "product", "category": None}]},
    "contact": {
        "website": "acme.example",
        "emails": ["a@acme.example"],
        "phones": ["+44 1"],
        "addresses": [
            {"kind": "plant", "city": "York", "country": "UK"},
            {"kind": "headquarters", "city": "Leeds", "country": "UK"},
        ],
    },
}
ACME_FLAT = (
    "Acme Ltd",
    "Leeds",
    "UK",
    1901,
    "acme.example",
    "a@acme.example",
    "+44 1",
    "GB1",
    "ACM",
    240,
    ["pumps"],
)
CHEAP = {"evaluate": evaluate, "show": show, "report": report, "demo": demo}


@pytest.fixture(scope="module")
def scripts() -> list[Script]:
    """The scripts that the README calls, once all of it is checked."""
    return check(README)


@pytest.fixture(scope="module")
def here(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, FakeServer]]:
    """A folder with a user's `documents/` and the output of the demo, and an endpoint."""
    folder = tmp_path_factory.mktemp("checkout")
    demo_documents.write_demo(folder / "documents" / "all.parquet")
    with FakeServer() as server:
        assert job(folder / "documents", folder / "out" / "demo", server.url, "--set", "max_dead_fraction=1") == 0
        yield folder, server


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.stem))
def test_a_page_holds(page: Path) -> None:
    check(page.read_text("utf-8"), page.parent)


def test_it_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) <= LONGEST
    assert [page.name for page in PAGES if f"docs/{page.name}" not in README] == []


def test_everything_in_it_holds(scripts: list[Script]) -> None:
    assert {script.module for script in scripts} >= {"jobs.extract", "jobs.demo", "jobs.evaluate"}


def test_what_can_be_run_at_once_is_run(scripts: list[Script], here: tuple[Path, FakeServer]) -> None:
    folder, server = here
    ran = 0
    for script in scripts:
        arguments = [_theirs(word, folder, server) for word in script.arguments]
        name = script.module.removeprefix("jobs.")
        if name == "extract" and "endpoint" in arguments and "--plan" not in arguments:
            assert extract.main([*arguments, "--set", "max_dead_fraction=1"]) == 0, script
        elif name in CHEAP:
            assert CHEAP[name].main(arguments) == 0, script
        else:
            continue
        ran += 1
    assert ran >= 3


def test_a_schema_of_ones_own_works_as_it_is_told(here: tuple[Path, FakeServer]) -> None:
    folder, server = here
    page = (ROOT / "docs" / "schemas.md").read_text("utf-8")
    for block in OWN.finditer(page):
        path = folder / block["path"]
        path.parent.mkdir(exist_ok=True)
        path.write_text(block["content"], "utf-8")
    (script,) = (each for each in check(page, ROOT / "docs") if "mine/maker.yaml" in each.arguments)
    places = {"mine/maker.yaml": folder / "mine" / "maker.yaml"}
    words = [str(places.get(word, _theirs(word, folder, server))) for word in script.arguments]
    more = ["--set", "max_dead_fraction=1", "--model", "fake"]
    environment = {**os.environ, "PYTHONPATH": str(folder / "mine")}
    command = [sys.executable, str(ROOT / script.name), *words, *more]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr
    assert all(line.startswith(OUR_LINES) for line in ran.stderr.splitlines()), ran.stderr  # of Ray's none
    assert rows_of(folder / "out" / "makers", "profiles")[0].keys() >= {"name", "town", "since", "people", "goods"}


def test_what_reads_the_output_reads_it(here: tuple[Path, FakeServer], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = here
    monkeypatch.chdir(folder)
    demo_documents.write_demo(folder / "out" / "demo" / "documents.parquet")
    page = (ROOT / "docs" / "output.md").read_text("utf-8")
    read: dict[str, object] = {}
    commit_to_tables(folder)
    production = folder / "out" / "mine" / "current" / "profiles.parquet"
    production.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(published_table([ACME], CompanyProfile), production)
    for block in PYTHON.findall(page):
        exec(block.replace("/data/", f"{folder}/"), read)
    assert len(read["profiles"]) == len(rows_of(folder / "out" / "demo", "profiles"))  # type: ignore[arg-type]
    assert read["files"]
    columns = ", ".join(field.name for field in facts(ShortProfile))
    assert duckdb.execute(f"select {columns} from companies").fetchall() == [ACME_FLAT]


def commit_to_tables(folder: Path) -> None:
    """Commit the demo's profiles to the tables of docs/output.md."""
    run = PublishedRun.at(str(folder / "out" / "demo"))
    for table in (f"delta://{folder}/companies", f"iceberg://{folder}/warehouse/sales.companies"):
        commit_table(table, run.storage, run.manifest, profile_schema(run.model()))


def _theirs(word: str, folder: Path, server: FakeServer) -> str:
    """A word of the README as it is in a test: a user's files in a folder, the endpoint a fake one."""
    if word.startswith(("out/", "documents/")):
        return str(folder / word)
    return word.replace(ENDPOINT, server.url)


@pytest.mark.parametrize(
    "wrong",
    [
        "```sh\nmake nonsense\n```",
        "```sh\npython jobs/extract.py --input a --output b --set limits.max_tokens=3\n```",
        "```sh\nC='--chunks 3'\npython jobs/benchmark.py serving $C --serverses 3\n```",
        "```sh\nray job submit --working-dir . -- python jobs/extract.py --input a --outputs b\n```",
        "```sh\nuv pip sync requirements-nowhere.lock\n```",
        "```sh\nfrobnicate --all\n```",
        "text\n\n    make demo\n",
        "see `extraction/nowhere.py`",
        "run `make nonsense MODEL=x`",
        "see [there](configs/nowhere)",
    ],
)
def test_what_does_not_hold_is_found(wrong: str) -> None:
    with pytest.raises(Wrong):
        check(wrong)
