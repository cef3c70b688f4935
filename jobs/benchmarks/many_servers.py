"""What many servers cost a run's driver and its ledger: the files and tables that they leave are made up, and what
the driver does with them is measured. No server is started, so a thousand fit on a laptop.

    python jobs/benchmark.py many-servers --servers 10 100 1000
    python jobs/benchmark.py dispatching --path ray --actors 4 --chunks 3200    what an actor more costs Ray's pool
"""

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from actors.results import RESULT_TEXTS, RESULTS
from actors.servers.supervisor import ServerReady
from extraction.config.settings import BreakerSettings
from jobs.cli.command import LOG, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import NumbersFile, WholeNumber, WholeNumbers, flag
from jobs.stages.circuit_breaker import CircuitBreaker
from jobs.stages.run_stats import RunStats
from jobs.stages.server_pool_size import MOST_ROWS
from jobs.state.ledger import Ledger
from jobs.state.run_record import server_spans, servers_in, write_server
from jobs.state.storage import Storage, storage_at

ANSWER_TABLES = 500  # of answers, that the driver takes in
FIRST_RUN = "20260101T000000Z-000000"


@dataclass(frozen=True)
class ManyServers:
    """So many servers: small segments that they have in the ledger, milliseconds to write one, seconds to read
    their index, milliseconds of the driver for each table of answers, seconds to read what servers left of
    themselves, and to count those that are ready."""

    servers: int
    segments: int
    write_ms: float
    index_s: float
    table_ms: float
    records_s: float
    listed_s: float


app = command("many-servers", __doc__)


@app.default
def run(
    *,
    servers: WholeNumbers = (10, 100, 1_000),
    segments: Annotated[WholeNumber, flag("small ones of each server in the ledger")] = 8,
    rows: Annotated[WholeNumber, flag("of a small segment: 5 chunks/s for ledger.flush_s are 25")] = 25,
    json_file: NumbersFile = None,
) -> int:
    """Measure each number of servers."""
    measured = []
    for count in servers:
        with tempfile.TemporaryDirectory(prefix="many-servers-") as folder:
            measured.append(measure_many(storage_at(folder), count, segments, rows))
        LOG.print(f"{count:,} servers: {measured[-1].index_s:.1f} s for the ledger's index")
    Console(width=160, highlight=False).print(many_servers_table(measured))
    if json_file:
        told = [asdict(one) for one in measured]
        json_file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return DONE


def measure_many(storage: Storage, servers: int, each: int, rows: int) -> ManyServers:
    """One number of servers, each with so many small segments."""
    ledger = Ledger(storage, "f" * 64)
    written = timed(lambda: _write_segments(ledger, servers, each, rows))
    index = timed(lambda: ledger.index())
    for number in range(servers):
        ready = ServerReady(f"host-{number}", "made", 128, 1, 60.0, time.time(), {}, time.time() - 60)
        write_server(storage, FIRST_RUN, ready, str(number))
    stats, breaker = RunStats(), CircuitBreaker(BreakerSettings())
    tables = [_answers(f"host-{number % servers}", number, MOST_ROWS) for number in range(ANSWER_TABLES)]

    def take_in() -> None:
        for table in tables:
            stats.add(table)
            breaker.add(table)

    return ManyServers(
        servers,
        servers * each,
        1000 * written / (servers * each),
        index,
        1000 * timed(take_in) / ANSWER_TABLES,
        timed(lambda: server_spans(storage, FIRST_RUN)),
        timed(lambda: storage.list(servers_in(FIRST_RUN), ".json")),
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds that something takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _write_segments(ledger: Ledger, servers: int, each: int, rows: int) -> None:
    for number in range(servers * each):
        ledger.append(f"{FIRST_RUN}.{number % servers}", _stored(number * rows, rows))


def _stored(first: int, rows: int) -> pa.Table:
    columns = {
        "chunk_id": pa.array([f"{number:064x}" for number in range(first, first + rows)]),
        "replies": pa.array([['{"name": "Alder & Finch Ltd"}']] * rows),
        "ended_at": pa.array(np.arange(first, first + rows, dtype=float)),
    }
    made = [columns.get(field.name, pa.nulls(rows, field.type)) for field in RESULTS]
    return pa.Table.from_arrays(made, schema=RESULTS)


def _answers(server: str, number: int, rows: int) -> pa.Table:
    """Answers of one server as Ray hands them to the driver."""
    row: dict[str, Any] = {"attempts": 1, "prompt_tokens": 12_000, "cached_tokens": 1_000, "completion_tokens": 400}
    row |= {"latency_s": 30.0, "in_flight": 128, "truncated": 0, "looped": 0, "server": server}
    made = [{**row, "chunk_id": f"{number * rows + n:064x}", "ended_at": time.time()} for n in range(rows)]
    return pa.Table.from_pylist(made, RESULTS).drop_columns(list(RESULT_TEXTS))


def many_servers_table(measured: list[ManyServers]) -> Table:
    """A line each."""
    shown = Table(box=None, pad_edge=False)
    for field in fields(ManyServers):
        shown.add_column(field.name.replace("_", " "), justify="right", no_wrap=True)
    for one in measured:
        numbers = asdict(one).values()
        shown.add_row(*(f"{number:,}" if isinstance(number, int) else f"{number:.2f}" for number in numbers))
    return shown
