"""Evidence is a set, and what it comes to is a pure function of that set."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking import Piece
from extraction.merging import Observation, merge, observe, resolve
from extraction.rules import fields
from tests.extraction.samples import RULES, VALUES, Cellar, Plot, Vineyard, evidence_sets, observation, told

ROOT = Path(__file__).resolve().parents[2]
Evidence = frozenset[Observation]
TEXT = "ANA  BRANDT\nmakes Tinta Roriz in Pinhão since 1874; 2.5 ha at Cima."


def resolved(*observations: Observation) -> dict[str, Any]:
    return resolve(Vineyard, observations).values


@given(evidence_sets, evidence_sets, evidence_sets)
def test_union_is_associative_commutative_and_idempotent(a: Evidence, b: Evidence, c: Evidence) -> None:
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge(a, b, c)
    assert merge(a, b) == merge(b, a)
    assert merge(a, a) == merge(a) == merge(a, [])


@given(evidence_sets, st.data())
def test_order_and_repetition_change_nothing(evidence: Evidence, data: st.DataObject) -> None:
    again = st.lists(st.sampled_from(sorted(evidence)), max_size=9) if evidence else st.just([])
    shuffled = data.draw(st.permutations([*evidence, *data.draw(again)]))
    assert told(resolve(Vineyard, shuffled)) == told(resolve(Vineyard, sorted(evidence)))


@given(st.lists(evidence_sets, min_size=2, max_size=4), st.data())
def test_bracketing_changes_nothing(sets: list[Evidence], data: st.DataObject) -> None:
    left = sets
    while len(left) > 1:
        cut = data.draw(st.integers(0, len(left) - 2))
        left = [*left[:cut], merge(left[cut], left[cut + 1]), *left[cut + 2 :]]
    assert told(resolve(Vineyard, left[0])) == told(resolve(Vineyard, merge(*reversed(sets))))


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
def test_a_verbatim_field_publishes_only_what_stands_in_a_document(evidence: Evidence) -> None:
    values = resolve(Vineyard, evidence).values
    for field in fields(Vineyard):
        published: Any = values
        for part in field.path:
            published = published[part]
        given_ = [o for o in evidence if o.field == field.name]
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
def test_evidence_tells_of_every_value_and_marks_the_published_ones(evidence: Evidence) -> None:
    rows = resolve(Vineyard, evidence).evidence
    assert sorted(row["field"] for row in rows) == sorted(name for name, _ in {(o.field, o.key) for o in evidence})
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
    longer = observation("owner", "Ana Maria Brandt", "d3", start=9)
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


def test_an_answer_is_looked_up_in_every_document_of_its_chunk() -> None:
    profile = Vineyard(
        owner="Ana Brandt",
        style="red",
        cellar=Cellar(town="Porto", opened=1874, phones=[""]),
        grapes=["tinta roriz"],
        plots=[Plot(name="Cima", hectares=2.5)],
        organic=True,
    )
    pieces = [
        Piece(d, s, s + len(TEXT), 4, None, "2024", f"{d}.parquet#row=0") for d, s in (("d1", 0), ("d2", 1000))
    ]
    seen = sorted(observe(profile, "c", f"# A\n{TEXT}", pieces))
    assert {(o.field, o.document_id) for o in seen if o.grounded} == {
        (field, document) for field in ("owner", "cellar.opened", "grapes", "plots") for document in ("d1", "d2")
    }
    assert {o.field for o in seen if not o.grounded} == {"style", "cellar.town", "organic"}
    for o in seen:
        assert o.start < 0 or TEXT[o.start % 1000 : o.end % 1000] == o.quote
    assert resolve(Vineyard, seen).values == {
        "owner": "Ana Brandt",
        "style": "red",
        "soil": None,
        "grapes": ["tinta roriz"],
        "organic": True,
        "prizes": [],
        "plots": [{"name": "Cima", "hectares": 2.5}],
        "cellar": {"town": None, "opened": 1874, "phones": []},
    }


def test_nothing_observed_is_an_empty_profile() -> None:
    nothing = resolve(Vineyard, [])
    assert nothing.evidence == []
    assert set(VALUES) >= {name for name, value in nothing.values.items() if value in (None, [])}
