"""Small documents share packs; a document that changes moves the bounds near it only."""

from dataclasses import dataclass
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from extraction.chunking.chunker import ends_pack, packs

ROOM = 1_000


@dataclass(frozen=True)
class Page:
    document_id: str
    tokens: int


pages = st.lists(st.integers(1, 1_300), max_size=60).map(
    lambda sizes: [Page(f"d{number:03}", size) for number, size in enumerate(sizes)]
)


@given(pages)
def test_packs_hold_everything_once_in_order_and_within_their_room(items: list[Page]) -> None:
    found = list(packs(items, ROOM))
    small = [page for pack in found for page in pack if page.tokens <= ROOM]
    assert small == [page for page in items if page.tokens <= ROOM]
    assert sorted(p.document_id for pack in found for p in pack) == [p.document_id for p in items]
    for pack in found:
        assert pack
        assert sum(page.tokens for page in pack) <= ROOM or len(pack) == 1


@given(pages)
def test_a_pack_ends_because_it_is_full_or_its_last_document_says_so(items: list[Page]) -> None:
    shared = [pack for pack in packs(items, ROOM) if pack[0].tokens <= ROOM]
    for pack, following in pairwise(shared):
        filled = sum(page.tokens for page in pack)
        said_so = 2 * filled >= ROOM and ends_pack(pack[-1].document_id)
        assert said_so or filled + following[0].tokens > ROOM
        assert not any(
            2 * sum(p.tokens for p in pack[: n + 1]) >= ROOM and ends_pack(page.document_id)
            for n, page in enumerate(pack[:-1])
        )


def bounds(found: list[list[Page]]) -> list[str]:
    return [pack[-1].document_id for pack in found]


@given(pages, st.data())
def test_from_a_bound_in_common_on_packs_are_the_same(items: list[Page], data: st.DataObject) -> None:
    items = [page for page in items if page.tokens <= ROOM]
    at = data.draw(st.integers(0, len(items)))
    change = data.draw(st.sampled_from(["insert", "remove", "grow"]))
    new = [] if change == "remove" else [Page("new", data.draw(st.integers(1, ROOM)))]
    changed = [*items[:at], *new, *items[at + (change != "insert") :]]
    before, after = list(packs(items, ROOM)), list(packs(changed, ROOM))
    in_common = [
        end
        for end in bounds(before)
        if end in set(bounds(after)) and end in {p.document_id for p in items[at + 1 :]}
    ]
    if in_common:
        rest = before[bounds(before).index(in_common[0]) + 1 :]
        assert after[bounds(after).index(in_common[0]) + 1 :] == rest
    untouched = [pack for pack in before if pack[-1].document_id < f"d{at:03}"][:-1]
    assert after[: len(untouched)] == untouched


def test_a_changed_document_asks_for_few_packs_anew() -> None:
    chance = Random(5)
    items = [Page(f"document {number}", chance.randint(20, 200)) for number in range(3_000)]
    before = {tuple(pack) for pack in packs(items, ROOM)}
    anew = []
    for at in range(0, 2_500, 25):
        added = [*items[:at], Page(f"added {at}", chance.randint(20, 200)), *items[at:]]
        anew.append(len({tuple(pack) for pack in packs(added, ROOM)} - before))
    assert len(before) > 300
    assert sorted(anew)[len(anew) // 2] <= 4
    assert max(anew) <= 40
