"""Digests: ids as 128 bits each, so that those of a whole backfill fit in memory and are found by binary search."""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

SIZE = 16  # bytes: among 10 billion ids the odds that two share a digest are about 1 in 10^19
Digests = npt.NDArray[np.uint64]  # a row an id: its high and its low half
Numbers = npt.NDArray[np.int64]


def digests(ids: Iterable[str]) -> Digests:
    """The digests of some ids, in their order."""
    told = b"".join(hashlib.blake2b(each.encode(), digest_size=SIZE).digest() for each in ids)
    return np.frombuffer(told, np.uint64).reshape(-1, 2)


def order(some: Digests) -> Numbers:
    """Row numbers that put digests in order; equal ones stay as they stood."""
    return np.lexsort((some[:, 1], some[:, 0]))


def first_of_each(some: Digests) -> Numbers:
    """Row numbers, in order, of those that no equal one stands before."""
    by_value = order(some)
    ordered = some[by_value]
    new = np.ones(len(some), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return np.sort(by_value[new])


def find(ordered: Digests, wanted: Digests) -> tuple[Numbers, Numbers]:
    """Where digests stand among ordered ones, as pairs of row numbers in `wanted` and in `ordered`."""
    asked = order(wanted)  # ordered questions keep to one part of memory after the other
    high = ordered[:, 0]
    first = np.searchsorted(high, wanted[asked, 0], "left")
    counts = np.searchsorted(high, wanted[asked, 0], "right") - first
    question = np.repeat(asked, counts)
    place = np.repeat(first - np.cumsum(counts) + counts, counts) + np.arange(len(question))
    equal = ordered[place, 1] == wanted[question, 1]
    return question[equal], place[equal]
