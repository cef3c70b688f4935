"""What the evidence comes to: a pure function of it, that publishes facts, and hides no conflict."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from extraction.merging.evidence import Evidence, Observation
from extraction.merging.publish_decision import resolve
from extraction.schema.profile_model import fields
from tests.extraction.samples import RULES, VALUES, Vineyard, evidence_sets, observation, resolved

ROOT = Path(__file__).resolve().parents[3]
Set = frozenset[Observation]


def test_the_hash_seed_changes_nothing() -> None:
    code = "from tests.extraction.samples import resolved_in_a_set_order as f; print(f())"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            stdout=subprocess.PIPE,
        )
        for seed in ("1", "2")
    ]
    one, other = (process.communicate()[0] for process in running)
    assert one == other
    assert len(one) > 1_000


@given(evidence_sets)
def test_a_verbatim_field_publishes_only_what_stands_in_a_document(observations: Set) -> None:
    values = resolve(Vineyard, Evidence(observations)).values
    for field in fields(Vineyard):
        published: Any = values
        for part in field.path:
            published = published[part]
        given_ = [o for o in observations if o.field == field.name]
        grounded = {o.key for o in given_ if o.grounded}
        keys = {
            field.rule.key_of(v)
            for v in (published if isinstance(published, list) else [published])
            if v is not None
        }
        assert keys <= (grounded if field.rule.verbatim else {o.key for o in given_})
        if field.rule.kind == "union":
            assert len(published) == len(keys) == min(field.rule.limit, len(grounded))
        else:
            assert (published is None) == (not (grounded if field.rule.verbatim else given_))


@given(evidence_sets)
def test_evidence_tells_of_every_value_and_marks_the_published_ones(observations: Set) -> None:
    rows = resolve(Vineyard, Evidence(observations)).evidence
    assert sorted(row["field"] for row in rows) == sorted(
        name for name, _ in {(o.field, o.key) for o in observations}
    )
    for row in rows:
        assert row["grounded"] == bool(row["places"])
        assert 1 <= row["support"] <= 3
        assert len(row["places"]) <= 3
        assert not row["chosen"] or row["grounded"] or not RULES[row["field"]].verbatim


def test_what_is_grounded_beats_what_more_documents_say() -> None:
    loose = [observation("cellar.opened", 1920, document) for document in ("d1", "d2", "d3")]
    assert resolved(*loose, observation("cellar.opened", 1874, "d4", start=50))["cellar"]["opened"] == 1874


def test_documents_beat_chunks_and_chunks_beat_position() -> None:
    many_chunks = [observation("cellar.opened", 1920, "d1", chunk=f"c{n}", start=0) for n in range(5)]
    two_documents = [observation("cellar.opened", 1874, document, start=90) for document in ("d2", "d3")]
    assert resolved(*many_chunks, *two_documents)["cellar"]["opened"] == 1874
    assert resolved(*many_chunks, two_documents[0])["cellar"]["opened"] == 1920
    assert resolved(many_chunks[0], two_documents[0])["cellar"]["opened"] == 1920


def test_the_model_s_own_reading_goes_by_documents_even_where_its_word_stands_in_one() -> None:
    said = [observation("style", "white", document) for document in ("d1", "d2")]
    assert resolved(*said, observation("style", "red", "d3", start=4))["style"] == "white"


def test_alike_names_support_each_other() -> None:
    rival = [observation("owner", "Quinta Nova", document, start=3) for document in ("d1", "d2")]
    longer = observation("owner", "Ana Brandt Vinhos", "d3", start=9)
    shorter = [observation("owner", n, d, start=9) for n, d in (("Ana Brandt Ltda.", "d4"), ("Ana Brandt", "d5"))]
    assert resolved(*rival, longer)["owner"] == "Quinta Nova"
    assert resolved(*rival, longer, *shorter)["owner"] == "Ana Brandt Ltda."


def test_the_newest_document_wins_where_a_field_says_so() -> None:
    old = [observation("cellar.town", "Régua", document, start=0, date="2019-12-31") for document in ("d1", "d2")]
    new = observation("cellar.town", "Pinhão", "d3", start=70, date="2024")
    assert resolved(*old, new)["cellar"]["town"] == "Pinhão"
    assert resolved(*old, observation("cellar.town", "Pinhão", "d3", date="2024"))["cellar"]["town"] == "Régua"


@pytest.mark.parametrize("date", ["31/12/2020", "May 2020", "1714521600", ""])
def test_a_date_that_tells_no_order_counts_as_none(date: str) -> None:
    dated = observation("cellar.town", "Régua", "d1", start=0, date="1999-01-01")
    other = [observation("cellar.town", "Pinhão", document, start=0, date=date) for document in ("d2", "d3")]
    assert resolved(dated, *other)["cellar"]["town"] == "Régua"


def test_a_value_is_written_as_most_documents_write_it() -> None:
    spelled = [("Ana Brandt", "d1"), ("ANA BRANDT", "d2"), ("ANA BRANDT", "d3")]
    assert resolved(*(observation("owner", v, d, start=0) for v, d in spelled))["owner"] == "ANA BRANDT"
    one_each = [("Ana Brandt", "d1"), ("Ana Brandt Ltda.", "d2")]
    assert resolved(*(observation("owner", v, d, start=0) for v, d in one_each))["owner"] == "Ana Brandt Ltda."


def test_a_list_keeps_its_best_supported_values() -> None:
    backed = {"Rufete": 3, "Sousão": 2, "Tinta Roriz": 2, "Donzelinho": 1}
    given_ = [
        observation("grapes", grape, f"d{n}", start=10 if grape == "Tinta Roriz" else 20)
        for grape, documents in backed.items()
        for n in range(documents)
    ]
    assert resolved(*given_)["grapes"] == ["Rufete", "Tinta Roriz", "Sousão"]


def test_nothing_observed_is_an_empty_profile() -> None:
    nothing = resolve(Vineyard, Evidence())
    assert nothing.evidence == nothing.conflicts == []
    assert set(VALUES) >= {name for name, value in nothing.values.items() if value in (None, [])}


def test_a_trusted_document_outweighs_two_others() -> None:
    said = [observation("cellar.opened", 1920, d, start=5) for d in ("d1", "d2")]
    register = observation("cellar.opened", 1874, "d3", start=5)._replace(document_type="register")
    evidence = Evidence([*said, register])
    assert resolve(Vineyard, evidence).values["cellar"]["opened"] == 1920
    assert resolve(Vineyard, evidence, {"register": 2.5}).values["cellar"]["opened"] == 1874


def test_a_conflict_is_told_with_what_each_side_has_for_it() -> None:
    said = [observation("cellar.opened", 1920, d, start=5, date="2020-01-01") for d in ("d1", "d2")]
    other = observation("cellar.opened", 1874, "d3", start=7, date="2023-04-05")
    (conflict,) = resolve(Vineyard, Evidence([*said, other])).conflicts
    place = {"document_id": "d3", "start": 7, "end": 11, "quote": "1874"}
    alternative = {"value": "1874", "support": 1, "newest": "2023-04-05", "place": place}
    assert conflict == {
        "field": "cellar.opened",
        "chosen": "1920",
        "support": 2,
        "rule": "vote",
        "alternatives": [alternative],
    }


def test_what_is_no_other_opinion_is_no_conflict() -> None:
    slip = [observation("cellar.opened", 1920, f"d{n}", start=5) for n in range(9)]
    invented = [observation("cellar.opened", 1800, f"e{n}") for n in range(9)]
    longer = [
        observation("owner", name, "d1", start=n) for n, name in enumerate(("Ana Brandt", "Ana Brandt Vinhos"))
    ]
    history = [observation("cellar.town", t, t, start=0, date=d) for t, d in (("Régua", "2019"), ("Porto", "2024"))]
    several = [observation("grapes", grape, "d1", start=3) for grape in ("Sousão", "Rufete")]
    rare = observation("cellar.opened", 1874, "d10", start=7)
    evidence = Evidence([*slip, rare, *invented, *longer, *history, *several])
    assert resolve(Vineyard, evidence).conflicts == []


def test_of_free_texts_the_one_most_like_the_others_is_published() -> None:
    texts = ["Old vines above the river.", "The vines stand above the river.", "They press olives."]
    told = [observation("story", text, f"d{n}") for n, text in enumerate(texts)]
    assert resolved(*told)["story"] in texts[:2]
    assert resolved(told[2])["story"] == texts[2]


@pytest.mark.parametrize("date", ["9999-12-31", "2099", "2027-01-01", "2024-13-01"])
def test_a_date_that_cannot_be_is_none(date: str) -> None:
    late = observation("cellar.town", "Régua", "d1", start=0, date=date)
    known = [observation("cellar.town", "Porto", d, start=0, date="2024-05-01") for d in ("d2", "d3")]
    assert resolve(Vineyard, Evidence([late, *known]), until="2026-11-22").values["cellar"]["town"] == "Porto"


def test_a_company_of_many_names_is_ranked_all_the_same() -> None:
    many = [observation("owner", f"Quinta {n} do Vale", f"d{n}", start=5) for n in range(1_500)]
    twice = [observation("owner", "Ana Brandt", d, start=9) for d in ("e1", "e2")]
    assert resolved(*many, *twice)["owner"] == "Ana Brandt"
