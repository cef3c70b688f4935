"""A run asks for as many servers as its work keeps busy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extraction.config.settings import Servers
from jobs.stages.server_pool_size import ASKED_AHEAD, WAVES, pool_size, round_robin_order

COUNTS = st.integers(1, 10_000_000)


SERVERS = st.builds(Servers, min_servers=st.integers(1, 50), max_servers=st.one_of(st.none(), st.integers(1, 500)))


LIMITS = st.integers(1, 1024)


PRESENT = st.integers(0, 2000)


@given(missing=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT, grows=st.booleans())
def test_a_pool_keeps_to_what_it_was_told(
    missing: int, limit: int, servers: Servers, present: int, grows: bool
) -> None:
    size = pool_size(missing, limit, servers, present, grows=grows)
    assert 1 <= size.initial <= size.maximum <= missing
    assert size.maximum <= (servers.max_servers or missing)
    assert size.initial >= min(servers.min_servers, size.maximum)
    assert size.initial <= max(servers.min_servers, 1, present + ASKED_AHEAD * grows)


@given(missing=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT, queued=st.integers(1, 2))
def test_a_server_is_kept_busy_and_leaves_the_others_theirs(
    missing: int, limit: int, servers: Servers, present: int, queued: int
) -> None:
    size = pool_size(missing, limit, servers, present, grows=True, queued=queued)
    share = -(-missing // size.initial)
    assert size.calls * size.rows >= min(size.running, share)
    assert (size.calls - 2) * size.rows <= 4 * size.running  # what it is handed can't be taken back
    assert size.tasks >= 2
    assert (size.tasks - 2) * size.rows <= share
    assert size.rows <= 32


@given(missing=COUNTS, more=COUNTS, limit=LIMITS, servers=SERVERS, present=PRESENT)
def test_more_work_never_deserves_fewer_servers(
    missing: int, more: int, limit: int, servers: Servers, present: int
) -> None:
    sizes = [pool_size(count, limit, servers, present, grows=True) for count in (missing, missing + more)]
    assert sizes[0].initial <= sizes[1].initial
    assert sizes[0].maximum <= sizes[1].maximum


@pytest.mark.parametrize(
    ("missing", "present", "grows", "wanted", "most"),
    [
        (1, 8, True, 1, 1),
        (WAVES * 256, 8, True, 1, 1),
        (WAVES * 256 + 1, 8, True, 2, 2),
        (1_000_000, 8, False, 8, 1954),  # one machine with 8 GPUs: no more can come
        (1_000_000, 0, True, 32, 1954),  # a cluster without a GPU node yet
        (1_000_000, 32, True, 64, 1954),  # it doubles
        (1_000_000, 0, False, 1, 1954),
    ],
)
def test_examples(missing: int, present: int, grows: bool, wanted: int, most: int) -> None:
    size = pool_size(missing, 256, Servers(), present, grows=grows)
    assert (size.initial, size.maximum) == (wanted, most)


@given(st.integers(0, 200), st.integers(1, 60), st.integers(1, 9))
def test_chunks_that_are_worked_on_at_once_are_dealt_out_evenly(count: int, at_once: int, rows: int) -> None:
    order = round_robin_order(count, at_once, rows).tolist()
    assert sorted(order) == list(range(count))
    hand = -(-at_once // rows) * rows
    for start in range(0, count, hand):
        held = order[start : start + hand]
        assert set(held) == set(range(start, min(count, start + hand)))  # what is longer is asked before
        tasks = -(-len(held) // rows)
        firsts, at = [], 0
        for task in range(tasks):
            firsts.append(held[at])
            at += len(range(task, len(held), tasks))
        assert firsts == list(range(start, start + tasks))  # each task begins with one of the longest
