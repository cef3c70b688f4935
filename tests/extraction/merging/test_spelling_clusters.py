"""Spellings of one item are one, and different items stay two."""

import pytest

from extraction.merging.evidence import Evidence
from extraction.merging.publish_decision import resolve
from tests.extraction.samples import Vineyard, observation, resolved


def test_spellings_of_one_item_are_one_and_numbers_never_are() -> None:
    names = ["Donzelinho Tinto", "Donzelinho Tintto", "Clone 115", "Clone 116"]
    listed = [observation("prizes", name, f"d{n}", start=4) for n, name in enumerate(names)]
    found = resolve(Vineyard, Evidence(listed))
    assert sorted(found.values["prizes"]) == ["Clone 115", "Clone 116", "Donzelinho Tinto"]
    supports = {row["value"]: row["support"] for row in found.evidence}
    assert supports == {"Donzelinho Tinto": 2, "Clone 115": 1, "Clone 116": 1}


def test_a_chain_of_small_differences_ties_no_two_ends_together() -> None:
    chain = [
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaab",
        "aaaaaaaaaaaaaaaaaaaaaabb",
        "aaaaaaaaaaaaaaaaaaaaabbb",
    ]
    listed = [observation("prizes", name, f"d{n}", start=4) for n, name in enumerate(chain)]
    assert len(resolve(Vineyard, Evidence(listed)).values["prizes"]) == 2


def test_an_item_is_filled_with_what_others_say_of_it() -> None:
    bare = [observation("plots", {"name": "Cima", "hectares": None}, d, start=3) for d in ("d1", "d2")]
    told = observation("plots", {"name": "CIMA", "hectares": 2.5}, "d3", start=8)
    assert resolved(*bare, told)["plots"] == [{"name": "Cima", "hectares": 2.5}]


def test_items_are_filled_only_by_what_says_nothing_else_otherwise() -> None:
    seat = observation("plots", {"name": "Cima", "hectares": None}, "d1", start=3)
    ours = observation("plots", {"name": "Cima", "hectares": 2.5}, "d2", start=3)
    theirs = observation("plots", {"name": "Cima", "hectares": 7.5}, "d3", start=3)
    (plot,) = resolved(seat, ours, theirs)["plots"]
    assert plot["hectares"] in (2.5, 7.5)
    assert resolved(ours, ours._replace(document_id="d4"), theirs)["plots"] == [{"name": "Cima", "hectares": 2.5}]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Series A stock", "Series B stock"),
        ("North pump", "South pump"),
        ("Pump 10", "Pump 11"),
        ("Hyperthyroidism kit", "Hypothyroidism kit"),
        ("Oven", "Oven door"),
    ],
)
def test_items_that_differ_by_more_than_a_letter_of_a_long_word_are_two(one: str, other: str) -> None:
    listed = [observation("prizes", name, f"d{n}", start=4) for n, name in enumerate((one, other))]
    assert len(resolve(Vineyard, Evidence(listed)).values["prizes"]) == 2


def test_numbers_of_one_telephone_are_one_only_where_a_rule_says_so() -> None:
    listed = [observation("cellar.phones", phone, f"d{n}", start=4) for n, phone in enumerate(("254 11", "254 12"))]
    assert len(resolve(Vineyard, Evidence(listed)).values["cellar"]["phones"]) == 2


def test_a_cluster_counts_all_that_support_it() -> None:
    spelled = [
        observation("grapes", name, f"{name}{n}", start=9) for name in ("Rufete", "Ruffete") for n in range(2)
    ]
    others = [
        observation("grapes", g, f"{g}{n}", start=1) for g in ("Sousão", "Bastardo", "Gouveio") for n in range(3)
    ]
    assert resolved(*spelled, *others)["grapes"][0] in ("Rufete", "Ruffete")
