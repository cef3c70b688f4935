"""Every place that is published leads back to the character, over all the real documents there are."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.fakes.process import FakeServer
from tests.jobs.helpers import census, job, rows_of

pytestmark = pytest.mark.usefixtures("cluster")
GROUNDED = 10_000  # places at the least: fewer, and the test would look at little


def test_every_grounded_span_cut_from_its_document_is_the_quote(
    data: Path, tmp_path: Path, fake: FakeServer
) -> None:
    tables = [pq.read_table(path, columns=["document_id", "text"]) for path in sorted(data.glob("*.parquet"))]
    texts = {row["document_id"]: row["text"] for table in tables for row in table.to_pylist()}
    more = ("--config", "configs/extract.yaml", "--set", "max_dead_fraction=1")
    assert job(data, tmp_path / "out", fake.url, *more) == 0
    census(tmp_path / "out", set(texts))
    places = [
        place
        for profile in rows_of(tmp_path / "out", "profiles")
        for row in profile["evidence"]
        for place in row["places"]
    ]
    places += [
        alternative["place"]
        for profile in rows_of(tmp_path / "out", "profiles")
        for conflict in profile["conflicts"]
        for alternative in conflict["alternatives"]
        if alternative["place"]
    ]
    assert len(places) > GROUNDED
    wrong = [p for p in places if texts[p["document_id"]][p["start"] : p["end"]] != p["quote"] or not p["quote"]]
    assert wrong == []
