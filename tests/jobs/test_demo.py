"""The demo documents are what their labels say, and the small model reads them for real."""

import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobs import extract
from jobs.cli import demo_documents
from tests.conftest import ROOT
from tests.jobs.helpers import census, manifest, rows_of, write

LABELS: dict[str, Any] = yaml.safe_load((ROOT / "configs" / "demo" / "labels.yaml").read_text("utf-8"))
ROWS: list[dict[str, Any]] = demo_documents.demo_documents().to_pylist()


def plain(value: object) -> str:
    folded = unicodedata.normalize("NFKD", str(value)).casefold()
    return " ".join(re.findall(r"\w+", "".join(c for c in folded if not unicodedata.combining(c))))


def test_there_are_the_kinds_that_a_demo_needs() -> None:
    assert len(ROWS) >= 24
    assert len({row["company_id"] for row in ROWS}) >= 12
    texts = [row["text"] for row in ROWS]
    assert len(set(texts)) < len(texts)
    assert "" in texts
    assert max(map(len, texts)) > 50_000


def test_labels_name_every_company_and_their_values_stand_in_its_documents() -> None:
    assert LABELS.keys() == {row["company_id"] for row in ROWS}
    for company, label in LABELS.items():
        said = plain(" ".join(row["text"] for row in ROWS if row["company_id"] == company)).replace(" ", "")
        for field in ("name", "city", "founded_year", "website", "employees"):
            value = (label or {}).get(field)
            assert value is None or plain(value).replace(" ", "") in said, (company, field)


@pytest.mark.model
def test_the_small_model_reads_them(tmp_path: Path, cluster: None) -> None:
    asked = [row for row in ROWS if row["document_id"] == "oxbarrow-tull-directory"]
    source = write(tmp_path / "documents.parquet", asked)
    argv = ["--engine", "llamacpp", "--input", str(source), "--output", str(tmp_path / "out")]
    # One slot, so that no answer depends on what stands beside it in a batch; one thread, because several wait for
    # each other by spinning, and other tests have the cores.
    small = [part for key in ("slots", "threads") for part in ("--set", f"llamacpp.{key}=1")]
    assert extract.main([*argv, *small, "--set", "max_dead_fraction=0.5"]) == 0
    census(tmp_path / "out", {row["document_id"] for row in asked})
    assert manifest(tmp_path / "out")["counts"]["chunks_answered"] == 1
    names = {p["company_id"]: p["name"] for p in rows_of(tmp_path / "out", "profiles")}
    assert names
    assert all(plain(name) == plain(LABELS[company]["name"]) for company, name in names.items()), names
