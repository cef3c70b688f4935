"""Ids as 128 bits: found where a dictionary finds them."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jobs.state.ledger import Digests, digests, find, first_of_each, order

IDS = st.lists(st.text(st.sampled_from("abé\u2028"), max_size=3), max_size=30)
# Halves that often agree, as those of real digests hardly ever do.
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)


def pairs(given_pairs: list[tuple[int, int]]) -> Digests:
    return np.array(given_pairs, np.uint64).reshape(-1, 2)


@given(IDS)
def test_equal_ids_have_equal_digests_and_others_have_not(ids: list[str]) -> None:
    made = digests(ids)
    assert made.shape == (len(ids), 2)
    for one, first in zip(ids, made, strict=True):
        for other, second in zip(ids, made, strict=True):
            assert (one == other) == bool((first == second).all())


@given(PAIRS, PAIRS)
def test_every_pair_of_equals_is_found(held: list[tuple[int, int]], wanted: list[tuple[int, int]]) -> None:
    ordered = pairs(held)[order(pairs(held))]
    questions, places = find(ordered, pairs(wanted))
    found = sorted(zip(questions.tolist(), places.tolist(), strict=True))
    assert found == [
        (q, p) for q, w in enumerate(wanted) for p, h in enumerate(map(tuple, ordered.tolist())) if h == w
    ]


@given(PAIRS)
def test_the_first_of_each_is_where_a_dictionary_keeps_it(some: list[tuple[int, int]]) -> None:
    first: dict[tuple[int, int], int] = {}
    for number, each in enumerate(some):
        first.setdefault(each, number)
    assert first_of_each(pairs(some)).tolist() == list(first.values())
