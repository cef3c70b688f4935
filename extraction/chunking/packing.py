"""Packing: which small documents of a company share a chunk."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

ONE_IN = 16  # documents may end a pack that is half full


class Item(Protocol):
    """What is packed: a document that would take so many tokens in a pack."""

    @property
    def document_id(self) -> str: ...

    @property
    def tokens(self) -> int: ...


T = TypeVar("T", bound=Item)


def packs(items: Iterable[T], room: int) -> Iterator[list[T]]:
    """Fill packs of up to `room` tokens in the order given; what is larger is a pack of its own.

    A pack that is at least half full also ends behind a document whose id's digest says so. So a document
    that comes, goes or grows moves the bounds of the next few packs only: from the first bound that two
    fillings have in common, they are the same.
    """
    pack: list[T] = []
    filled = 0
    for item in items:
        if item.tokens > room:
            yield [item]
            continue
        if filled + item.tokens > room:
            yield pack
            pack, filled = [], 0
        pack.append(item)
        filled += item.tokens
        if 2 * filled >= room and ends_pack(item.document_id):
            yield pack
            pack, filled = [], 0
    if pack:
        yield pack


def ends_pack(document_id: str) -> bool:
    """Whether a pack may end behind this document before it is full."""
    digest = hashlib.sha256(document_id.encode("utf-8", errors="surrogatepass")).digest()
    return digest[0] % ONE_IN == 0
