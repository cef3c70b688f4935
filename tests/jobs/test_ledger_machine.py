"""The ledger as a state machine: writers, crashes, compaction and foreign files in any order."""

import uuid
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from actors.results import Result
from extraction.errors import Fault
from jobs.state import ledger as rooms
from jobs.state.ledger import ChunkState, Index, Ledger, LedgerWriter, digests
from jobs.state.ledger_compaction import fold_segments
from jobs.state.storage import Storage

CHUNKS = "abcdefgh"
FAULTS = st.one_of(st.none(), st.sampled_from(list(Fault)))
ANSWERS = st.lists(st.tuples(st.sampled_from(CHUNKS), FAULTS, st.integers(0, 9)), min_size=1, max_size=5)
FOLDED_ROWS = 6


class Writing(RuleBasedStateMachine):
    """Two actors write; what they wrote is never lost, whatever else happens."""

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger(Storage(f"memory://{uuid.uuid4().hex}"), "f" * 64)
        self.writers = [LedgerWriter(self.ledger, "run", name) for name in ("one", "two")]
        self.best: dict[str, ChunkState] = {}
        self.replies: dict[str, set[tuple[str, ...]]] = {}
        self.index: Index | None = None
        self.foreign: set[str] = set()

    @rule(writer=st.integers(0, 1), some=ANSWERS)
    def write(self, writer: int, some: list[tuple[str, Fault | None, int]]) -> None:
        made = [Result(c, () if f else (f"{{{n}}}",), f, attempts=1, ended_at=float(n)) for c, f, n in some]
        self.writers[writer].append(made)
        for answer in made:
            state = ChunkState.ANSWERED if answer.fault is None else ChunkState.FAILED
            state = ChunkState.RETRYABLE if answer.fault and answer.fault.retryable else state
            self.best[answer.chunk_id] = max(state, self.best.get(answer.chunk_id, state))
            if answer.fault is None:
                self.replies.setdefault(answer.chunk_id, set()).add(answer.replies)

    @rule(writer=st.integers(0, 1))
    def restart(self, writer: int) -> None:
        """An actor dies and comes again: it knows what it wrote, as far as nobody has folded it."""
        name = self.writers[writer].actor
        self.writers[writer] = LedgerWriter(self.ledger, "run", name)
        assert set(self.writers[writer].completed()) <= set(self.best)

    @rule(data=st.data())
    def compact(self, data: st.DataObject) -> None:
        """Any segments are folded, once, or twice as a task that is tried again does; or a crash leaves both."""
        paths = [path for path in self.ledger.paths() if "foreign" not in path]
        group = data.draw(st.lists(st.sampled_from(paths), unique=True) if paths else st.just([]))
        kept = {path: self.ledger.storage.read(path) for path in group}
        for _ in range(data.draw(st.integers(1, 2))):
            before = self.read(self.ledger.index())
            fold_segments(self.ledger, group)
            assert self.read(self.ledger.index()) == before
        for path in data.draw(st.sets(st.sampled_from(group)) if group else st.just(set())):
            self.ledger.storage.write(path, kept[path] or b"")

    @rule(data=st.binary(max_size=30), lost=st.integers(1, 40))
    def meddle(self, data: bytes, lost: int) -> None:
        """Somebody leaves files there that are none of the ledger's: of any bytes, of other columns, torn."""
        storage, paths = self.ledger.storage, self.ledger.paths()
        names = [f"{self.ledger.folder}/foreign-{len(self.foreign) + n}.parquet" for n in range(3)]
        storage.write(names[0], data)
        storage.write(names[1], (storage.read(paths[0]) or b"")[:-lost] if paths else b"")
        storage.write_table(names[2], pa.table({"x": [1]}))
        self.foreign.update(names)

    def read(self, index: Index) -> list[dict[str, Any]]:
        """All answers, as an index finds them."""
        found = self.ledger.read(index.places(digests(CHUNKS)), pa.array(list(CHUNKS)))
        rows: list[dict[str, Any]] = found.to_pylist()
        return rows

    @invariant()
    def nothing_is_lost(self) -> None:
        if not hasattr(self, "ledger"):
            return
        self.index = self.ledger.index(self.index)
        states = dict(zip(CHUNKS, self.index.states(digests(CHUNKS)).tolist(), strict=True))
        assert {chunk: ChunkState(state) for chunk, state in states.items() if state} == self.best
        assert set(self.index.skipped) == self.foreign
        rows = self.read(self.index)
        assert {row["chunk_id"] for row in rows} == set(self.best)
        for row in rows:
            answered = self.best[row["chunk_id"]] is ChunkState.ANSWERED
            assert (row["fault"] is None) == bool(row["replies"]) == answered
            assert not answered or tuple(row["replies"]) == min(self.replies[row["chunk_id"]])


class Small(Writing):
    """The same, with actors that fold their own segments soon."""

    @initialize()
    def begin(self) -> None:
        super().begin()
        self.before, rooms.FOLDED_ROWS = rooms.FOLDED_ROWS, FOLDED_ROWS

    def teardown(self) -> None:
        rooms.FOLDED_ROWS = getattr(self, "before", rooms.FOLDED_ROWS)


RARE = settings(max_examples=40, stateful_step_count=12, suppress_health_check=list(HealthCheck))
TestWriting = Writing.TestCase
TestSmall = Small.TestCase
TestWriting.settings = TestSmall.settings = RARE
