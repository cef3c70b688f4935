"""The index of a ledger: which chunks it knows, what became of each, and where that stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from extraction.errors import Fault
from jobs.state.digests import Digests, digests, find, order

RETRYABLE = pa.array([fault.value for fault in Fault if fault.retryable], pa.string())
States = npt.NDArray[np.uint8]


class State(IntEnum):
    """What became of a chunk; of several, the greatest counts."""

    UNKNOWN = 0
    FAILED = 1  # by a server's fault: to be asked again
    SETTLED = 2  # by a fault of its own: asked again only on request
    ANSWERED = 3


@dataclass(frozen=True)
class Segment:
    """A segment's keys, in the order of its rows."""

    path: str
    ids: Digests
    states: States

    @classmethod
    def of(cls, path: str, keys: pa.Table) -> "Segment":
        """From its columns `chunk_id` and `fault`."""
        fault = keys["fault"]
        states = pc.if_else(pc.is_in(fault, value_set=RETRYABLE), int(State.FAILED), int(State.SETTLED))
        states = pc.if_else(pc.is_null(fault), int(State.ANSWERED), states)
        return cls(path, digests(keys["chunk_id"].to_pylist()), states.to_numpy().astype(np.uint8))


class Index:
    """What some segments hold: some 45 bytes a row. `skipped` are the files beside them that are none."""

    def __init__(self, segments: Sequence[Segment], skipped: tuple[str, ...] = ()) -> None:
        self.segments, self.skipped = tuple(segments), skipped
        ids = np.concatenate([np.empty((0, 2), np.uint64), *(segment.ids for segment in segments)])
        ordered = order(ids)
        lengths = [len(segment.ids) for segment in segments]
        rows = [np.arange(length, dtype=np.int32) for length in lengths]
        self._ids = ids[ordered]
        self._states = np.concatenate([np.empty(0, np.uint8), *(segment.states for segment in segments)])[ordered]
        self._segment = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)[ordered]
        self._row = np.concatenate([np.empty(0, np.int32), *rows])[ordered]

    def __len__(self) -> int:
        return len(self._ids)

    def states(self, ids: Digests) -> States:
        """What became of each of some chunks."""
        found = np.zeros(len(ids), np.uint8)
        question, place = find(self._ids, ids)
        np.maximum.at(found, question, self._states[place])
        return found

    def places(self, ids: Digests) -> dict[str, list[int]]:
        """Where some chunks stand: row numbers by the path of the segment. A chunk may stand more than once."""
        _, place = find(self._ids, ids)
        segment, row = self._segment[place], self._row[place]
        return {self.segments[n].path: np.sort(row[segment == n]).tolist() for n in np.unique(segment).tolist()}
