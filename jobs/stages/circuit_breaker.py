"""The circuit breaker: ends a run in which too much fails, before it has burnt a cluster's time."""

from collections import Counter, deque
from typing import NoReturn

import pyarrow as pa

from actors.results import SERVER_GONE
from extraction.config.settings import BreakerSettings, Settings
from extraction.errors import Fault, RunError

FAULT_REMEDIES = {
    Fault.UNAVAILABLE: "see whether the servers or the endpoint are up, and what their logs say",
    Fault.DEADLINE: "the servers are too slow for requests.deadline_s, or hang: see their logs",
    Fault.ABORTED: "the servers break their answers off: see their logs",
    Fault.POISON: "the servers die of it: see their logs, and try another preset (--scenario)",
    Fault.REJECTED: "the server refuses these documents, and answers a test request: its words say why",
    Fault.TOO_LONG: "the server's context is smaller than limits.context_length: lower the limits",
}
OF_THE_ANSWERS = "the prompt, the schema and the model do not fit together: try --limit 20"


class CircuitBreaker:
    """Counts what becomes of chunks: the last `breaker.chunks` of them, and whether the first ones failed alike.

    `gone` is the number of chunks that failed with a server that did not answer a test request either.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.gone = 0
        self._last: deque[str | None] = deque()
        self._failed: Counter[str] = Counter()
        self._messages: dict[str, str] = {}  # by fault, the last message
        self._done = 0
        self._faults: set[str | None] = set()

    def add(self, answers: pa.Table) -> None:
        """Take answers in. Raises RunError when too much has failed."""
        self.gone += count_gone(answers)
        if self.settings.failed_fraction == 1:
            return
        for fault, message in zip(answers["fault"].to_pylist(), answers["message"].to_pylist(), strict=True):
            self._messages |= {fault: message} if fault else {}
            self._count(fault)
            self._judge()

    def _count(self, fault: str | None) -> None:
        self._done += 1
        self._faults.add(fault)
        self._last.append(fault)
        if fault:
            self._failed[fault] += 1
        if len(self._last) > self.settings.chunks and (old := self._last.popleft()):
            self._failed[old] -= 1

    def _judge(self) -> None:
        failed = self._failed.total()
        if self._done == self.settings.alike and len(self._faults) == 1 and failed:
            self._break(f"all of the first {self._done:,} chunks failed alike")
        if self._done >= self.settings.chunks and failed > self.settings.failed_fraction * self.settings.chunks:
            self._break(f"{failed:,} of the last {self.settings.chunks:,} chunks failed")

    def _break(self, what: str) -> NoReturn:
        ((fault, times),) = self._failed.most_common(1)
        remedy = FAULT_REMEDIES.get(Fault(fault), OF_THE_ANSWERS)
        raise RunError(
            f"{what}, {times:,} of them with {fault}: {self._messages[fault]}. The run stops, nothing is "
            f"published, the ledger is kept. {remedy[0].upper()}{remedy[1:]}; --set breaker.failed_fraction=1 goes "
            "on"
        )


def count_gone(answers: pa.Table) -> int:
    """Number of chunks that failed with a server that did not answer a test request either."""
    return sum((message or "").endswith(SERVER_GONE) for message in answers["message"].to_pylist())


def require_server(gone: int, chunks: int, settings: Settings) -> None:
    """Raise RunError where too many of a run's chunks failed because their server was gone: what would be published
    may lack what is published now."""
    if settings.breaker.failed_fraction < 1 and gone > settings.max_dead_fraction * chunks:
        raise RunError(
            f"{gone:,} of {chunks:,} chunks failed because their server was gone: it did not answer a test request "
            "either. Nothing is published, the ledger is kept: the same command asks again. --set "
            "breaker.failed_fraction=1 publishes regardless"
        )
