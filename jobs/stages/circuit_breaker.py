"""The circuit breaker: ends a run in which too much fails, before it has burnt a cluster's time."""

from collections import Counter, deque
from dataclasses import dataclass
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


@dataclass
class GoneServers:
    """Counts the chunks that failed with a server that did not answer a test request either; `message` is the last
    one's."""

    chunks: int = 0
    message: str = ""

    def add(self, answers: pa.Table) -> None:
        """Take answers in."""
        gone = [message for message in answers["message"].to_pylist() if (message or "").endswith(SERVER_GONE)]
        self.chunks += len(gone)
        self.message = gone[-1] if gone else self.message

    def check(self, chunks: int, settings: Settings) -> None:
        """Raise RunError where they are too many of a run's chunks: what would be published may lack what is
        published now."""
        if settings.breaker.failed_fraction < 1 and self.chunks > settings.max_dead_fraction * chunks:
            where = f" at {settings.endpoint.url}" if settings.endpoint.url else ""
            raise RunError(
                f"{self.chunks:,} of {chunks:,} chunks failed because their server{where} was gone: {self.message}"
                ". Nothing is published, the ledger is kept. See whether it is up, and what its log says: the same "
                "command asks again for these chunks; --set breaker.failed_fraction=1 publishes without them"
            )


class CircuitBreaker:
    """Counts what becomes of chunks: the last `breaker.chunks` of them, and whether the first ones failed alike."""

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.gone = GoneServers()
        self._last: deque[str | None] = deque()
        self._failed: Counter[str] = Counter()
        self._messages: dict[str, str] = {}  # by fault, the last message
        self._done = 0
        self._faults: set[str | None] = set()

    def add(self, answers: pa.Table) -> None:
        """Take answers in. Raises RunError when too much has failed."""
        self.gone.add(answers)
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
