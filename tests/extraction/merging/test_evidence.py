"""Evidence is a set: its union does not care about order, brackets or repeats, and stays small."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from extraction.merging.evidence import PLACES_SAMPLED, Evidence, Observation
from tests.extraction.samples import evidence_sets, observation

Set = frozenset[Observation]


def merge(*evidence: Evidence) -> Evidence:
    union = Evidence()
    for one in evidence:
        union.update(one)
    return union


@given(evidence_sets, evidence_sets, evidence_sets)
def test_union_is_associative_commutative_and_idempotent(x: Set, y: Set, z: Set) -> None:
    a, b, c = Evidence(x), Evidence(y), Evidence(z)
    assert merge(merge(a, b), c) == merge(a, merge(b, c)) == merge(a, b, c) == Evidence(x | y | z)
    assert merge(a, b) == merge(b, a)
    assert merge(a, a) == merge(a) == a
    assert merge(a, Evidence()) == a


@given(evidence_sets, st.data())
def test_order_and_repetition_change_nothing(observations: Set, data: st.DataObject) -> None:
    again = st.lists(st.sampled_from(sorted(observations)), max_size=9) if observations else st.just([])
    shuffled = data.draw(st.permutations([*observations, *data.draw(again)]))
    assert Evidence(shuffled) == Evidence(sorted(observations))


@given(st.lists(evidence_sets, min_size=2, max_size=5), st.data())
def test_bracketing_changes_nothing(sets: list[Set], data: st.DataObject) -> None:
    left = [Evidence(one) for one in sets]
    while len(left) > 1:
        cut = data.draw(st.integers(0, len(left) - 2))
        left = [*left[:cut], merge(left[cut], left[cut + 1]), *left[cut + 2 :]]
    assert left[0] == merge(*map(Evidence, reversed(sets)))


def test_merging_changes_neither_side() -> None:
    one, other = Evidence([observation("owner", "Ana", "d1")]), Evidence([observation("owner", "Ana", "d2")])
    before = merge(one)
    merge(one, other)
    assert one == before != merge(one, other)


@given(st.integers(0, 1_000_000))
def test_the_sample_of_many_documents_is_the_same_in_any_tree(seed: int) -> None:
    chance = Random(seed)
    many = [
        observation("owner", "Ana", f"d{chance.randrange(60)}", chunk=f"c{n}", start=chance.randrange(99))
        for n in range(200)
    ]
    whole = Evidence(many)
    chance.shuffle(many)
    cut = chance.randrange(len(many))
    assert merge(Evidence(many[cut:]), Evidence(many[:cut])) == whole


def test_a_value_is_spelled_after_all_documents_of_its_sample_are_dropped() -> None:
    evidence = Evidence(observation("owner", "Ana", f"d{n:02}", start=n) for n in range(PLACES_SAMPLED + 4))
    ((key, support),) = evidence.of("owner").items()
    evidence.drop(set(support.sample))
    assert sorted(support.documents) == [f"d{n:02}" for n in range(PLACES_SAMPLED, PLACES_SAMPLED + 4)]
    (left,) = support.sample.values()
    assert (left.value, left.grounded, key[1]) == ('"Ana"', False, True)
    evidence.add(observation("owner", "Ana", "later", start=99))
    assert "later" in support.sample


def test_a_value_of_many_documents_keeps_all_their_names_and_few_of_their_places() -> None:
    evidence = Evidence(observation("owner", "Ana", f"d{n:04}", start=n) for n in range(5_000))
    ((_, tally),) = evidence.of("owner").items()
    assert len(tally.documents) == len(tally.chunks) == 5_000
    assert sorted(tally.sample) == [f"d{n:04}" for n in range(PLACES_SAMPLED)]
