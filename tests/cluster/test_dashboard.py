"""The Grafana dashboard asks for metrics that there are."""

import json
import re
from typing import Any

import pytest

from actors.metrics import METRICS

from .manifests import CLUSTER

DASHBOARD: dict[str, Any] = json.loads((CLUSTER / "grafana-dashboard.json").read_text(encoding="utf-8"))
EXPORTED = {metric.exported: metric for metric in METRICS}
ADDED_BY_RAY = {"NodeAddress"}


def queries() -> list[str]:
    """Every expression of the dashboard."""
    variables = [each["query"] for each in DASHBOARD["templating"]["list"] if each["type"] == "query"]
    return variables + [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]


def names(query: str) -> set[str]:
    return set(re.findall(r"\b(?:ray|sglang)[_:]\w+", query))


@pytest.mark.parametrize("query", queries())
def test_a_query_names_metrics_and_labels_that_there_are(query: str) -> None:
    assert names(query)
    assert names(query) <= EXPORTED.keys()
    for name, selector in re.findall(r"(ray_\w+)\{([^}]*)\}", query):
        assert set(re.findall(r"(\w+)\s*[=!]", selector)) <= {"server", *EXPORTED[name].tags}
    grouped = {label.strip() for by in re.findall(r"by \(([^)]*)\)", query) for label in by.split(",")}
    assert grouped <= {"server", *ADDED_BY_RAY} | {tag for name in names(query) for tag in EXPORTED[name].tags}


def test_counters_are_asked_for_their_rates_alone() -> None:
    counters = [name for name, metric in EXPORTED.items() if metric.kind == "counter"]
    for query in queries():
        for name in counters:
            for found in re.finditer(rf"\b{name}\b", query):
                assert re.search(r"(rate|increase)\($", query[: found.start()]), query


def test_every_metric_is_on_the_dashboard() -> None:
    assert {name for query in queries() for name in names(query)} == EXPORTED.keys()


def test_panels_are_told_apart_and_do_not_overlap() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)
    assert all(panel["description"] for panel in DASHBOARD["panels"])
