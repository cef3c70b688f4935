"""What the comparison with peers makes of what runs and servers leave."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from docs.generate import with_tables
from tests.chaos import peers
from tests.chaos.world import TEST_REQUEST


def test_outcomes_are_counted_from_what_servers_and_runs_left(tmp_path: Path) -> None:
    """An answer that came twice, a request that was refused at once, and a row with an error."""
    asked = [("request", "a", 1, 0), ("request", "b", 2, 0), ("answer", "b", 2, 429), ("request", "b", 3, 0)]
    asked += [("answer", "a", 1, 200), ("request", "a", 4, 0), ("request", TEST_REQUEST, 5, 0)]
    names = ("event", "sha", "id", "status")
    assert peers.twice([{**dict(zip(names, each, strict=True)), "pid": 7} for each in asked]) == 1
    rows = [{"document_id": "d0", "reply": "{}"}, {"document_id": "d1", "reply": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "part.parquet")
    assert peers.found(tmp_path) == (1, 1)


def test_how_a_peer_ended_is_told_by_its_last_error() -> None:
    log = ["Traceback", "ray.exceptions.RayTaskError(KeyError): ray::Map()", "KeyError: 'choices'", "Tip"]
    assert peers.last_error("\n".join(log)) == "KeyError: 'choices'"
    assert peers.last_error("error: nothing | serves") == "error: nothing / serves"


def test_the_page_has_a_place_for_the_table() -> None:
    case = peers.CASES[0]
    table = peers.outcomes_table([(case, "company-profiles", peers.Outcome(3, 1, 0, 2, 1, "exit 0", 12))])
    page = with_tables(peers.PAGE.read_text("utf-8"), {"outcomes": table})
    assert f"| {case.told} ({case.issue}) | company-profiles | 3 | 1 | 0 | 2 | 1 | exit 0 | 12 |" in page
