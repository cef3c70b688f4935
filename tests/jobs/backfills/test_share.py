"""Each chunk of a sweep is one partition's: that of the first that asks for it."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from jobs.backfills.runner import Owners
from jobs.state.ledger import digests

IDS = st.lists(st.lists(st.sampled_from("abcdefghij"), max_size=8, unique=True), min_size=1, max_size=5)


@given(IDS)
def test_the_first_that_asks_owns(partitions: list[list[str]]) -> None:
    owners = Owners([digests(ids) for ids in partitions])
    first: dict[str, int] = {}
    for number, ids in enumerate(partitions):
        for each in ids:
            first.setdefault(each, number)
    asked = sorted(first)
    assert owners.of(pa.chunked_array([pa.array(asked, pa.string())])).tolist() == [first[each] for each in asked]
    assert owners.counts.tolist() == [list(first.values()).count(n) for n in range(len(partitions))]


def test_what_nobody_asked_for_is_nobodys() -> None:
    owners = Owners([digests(["a"])])
    assert owners.of(pa.chunked_array([pa.array(["b", "a"])])).tolist() == [-1, 0]
