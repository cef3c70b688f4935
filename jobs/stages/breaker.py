"""The breaker: a run in which too much fails stops before it has burnt a cluster's time."""

from collections import Counter, deque
from typing import NoReturn

import pyarrow as pa

from extraction.config.settings import Breaker as Asked
from extraction.errors import Fault, RunError

REMEDIES = {
    Fault.UNAVAILABLE: "see whether the servers or the endpoint are up, and what their logs say",
    Fault.DEADLINE: "the servers are too slow for requests.deadline_s, or hang: see their logs",
    Fault.ABORTED: "the servers break their answers off: see their logs",
    Fault.POISON: "the servers die of it: see their logs, and try another row of the scenario matrix",
    Fault.REJECTED: "the server refuses such requests: see whether it takes response_format json_schema",
    Fault.TOO_LONG: "the server's context is smaller than limits.context_length: lower the limits",
}
Kind = tuple[str, str]  # a fault, and what was said of it
OF_THE_ANSWERS = "the prompt, the schema and the model do not fit together: try --limit 20"


class Breaker:
    """Counts what becomes of chunks: the last `breaker.chunks` of them, and whether the first ones failed alike."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked
        self._last: deque[Kind | None] = deque()
        self._failed: Counter[Kind] = Counter()
        self._done = 0
        self._faults: set[str | None] = set()

    def add(self, answers: pa.Table) -> None:
        """Take answers in. Raises RunError when too much has failed."""
        if self.asked.failed_fraction == 1:
            return
        for fault, message in zip(answers["fault"].to_pylist(), answers["message"].to_pylist(), strict=True):
            self._count((fault, message) if fault else None)
            self._judge()

    def _count(self, kind: Kind | None) -> None:
        self._done += 1
        self._faults.add(kind and kind[0])
        self._last.append(kind)
        if kind:
            self._failed[kind] += 1
        if len(self._last) > self.asked.chunks and (old := self._last.popleft()):
            self._failed[old] -= 1

    def _judge(self) -> None:
        failed = self._failed.total()
        if self._done == self.asked.alike and len(self._faults) == 1 and failed:
            self._break(f"all of the first {self._done:,} chunks failed alike")
        if self._done >= self.asked.chunks and failed > self.asked.failed_fraction * self.asked.chunks:
            self._break(f"{failed:,} of the last {self.asked.chunks:,} chunks failed")

    def _break(self, what: str) -> NoReturn:
        (((fault, message), times),) = self._failed.most_common(1)
        remedy = REMEDIES.get(Fault(fault), OF_THE_ANSWERS)
        raise RunError(
            f"{what}, {times:,} of them with {fault}: {message}. The run stops, nothing is published, the ledger "
            f"is kept. {remedy[0].upper()}{remedy[1:]}; --set breaker.failed_fraction=1 goes on regardless"
        )
