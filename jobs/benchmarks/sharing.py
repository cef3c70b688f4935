"""How servers share the chunks of a run: its time beside the ideal split, and what part of it the last chunks take.

The servers are made up: one of speed 4 answers four times as fast as one of speed 1, and each takes the same number
of requests at a time. Chunks are of mixed lengths, and take as long as they are.

    python jobs/benchmark.py sharing --chunks 200 --speed 1 --speed 1
    python jobs/benchmark.py sharing --chunks 1000 --speed 4 --speed 1
"""

import contextlib
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from cyclopts import Parameter

from actors.servers.supervisor import Server, ServerAddress
from extraction.errors import OperatorError, RunError
from jobs.benchmarks.harness import INSTANT, made_up_requests, made_up_run, show, work_on
from jobs.benchmarks.instant_server import InstantServer, sampled
from jobs.benchmarks.paths import Lent, Together
from jobs.cli.command import CONFIGS, command
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import FLAGS, NumbersFile, Positive, flag
from jobs.stages import extract, ray_cluster

TAIL = 0.05  # of the chunks
SPREAD = 0.9  # of the logarithm of their lengths: a long one is some ten times a short one
SHORTEST_CHUNK, LONGEST_CHUNK, MEDIAN_CHUNK = 2, 120, 15
TOGETHER_WITHIN_S = 120.0


@Parameter("*", group=FLAGS)
@dataclass(frozen=True, kw_only=True)
class SharingFlags:
    """The benchmark's flags."""

    speed: Annotated[Sequence[float], flag("of a server; given once for each", metavar="X")] = (4, 1)
    chunks: Positive = 1_000
    requests: Annotated[Positive, flag("that each server takes at a time")] = 8
    latency: Annotated[float, flag("of the mean chunk on a server of speed 1", metavar="S")] = 2.0
    seed: Annotated[int, flag("of the chunks' lengths")] = 1
    json_file: NumbersFile = None


app = command("sharing", __doc__)


@app.default
def run(flags: SharingFlags = SharingFlags()) -> int:
    """Measure one run."""
    if min(flags.speed) <= 0 or flags.latency <= 0:
        raise OperatorError("--speed, --latency: numbers above zero are expected")
    with (  # actors that end still write there
        ray_cluster.connected(len(flags.speed) + 1),
        tempfile.TemporaryDirectory(prefix="sharing-", ignore_cleanup_errors=True) as folder,
    ):
        show([measure_sharing(flags, Path(folder))], flags.json_file)
    return DONE


def measure_sharing(flags: SharingFlags, folder: Path) -> dict[str, Any]:
    """Put the chunks through the extract stage, on an instant server for each speed: how many chunks each got, and
    seconds from the first request to the last answer, in all, by the ideal split, and of the last chunks. Ideal and
    tail are told as shares of the time it took, too."""
    count = len(flags.speed)
    laid = {
        **INSTANT,
        "endpoint.concurrency": flags.requests,
        "limits.max_output_tokens": SHORTEST_CHUNK,  # of a test request, which takes as long as it may be
        "servers.min_servers": count,
        "servers.max_servers": count,
    }
    this = made_up_run(CONFIGS / "extract.yaml", str(folder), laid)
    lengths = made_up_lengths(flags.chunks, flags.seed)
    per_token = flags.latency / (sum(lengths) / len(lengths))
    reply = json.dumps(sampled(this.schema))
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(InstantServer(reply, per_token / speed)) for speed in flags.speed]
        make = partial(_claimed, [server.address(flags.requests) for server in servers], folder)
        lent = replace(this, fleet=replace(this.fleet, make_server=make))
        answers: list[pa.Table] = []
        extract.extract(lent, work_on(lent, made_up_requests(lengths, 100)), [lambda _, new: answers.append(new)])
    results = pa.concat_tables(answers)
    if results["fault"].null_count < flags.chunks:
        raise RunError(f"{flags.chunks - results['fault'].null_count:,} of {flags.chunks:,} chunks failed")
    ended = np.sort(results["ended_at"].to_numpy())
    first = (results["ended_at"].to_numpy() - results["latency_s"].to_numpy()).min()
    counts = results["server"].value_counts().field("counts").to_pylist()
    ideal = sum(lengths) * per_token / (flags.requests * sum(flags.speed))
    tail_s = ended[-1] - ended[round(flags.chunks * (1 - TAIL)) - 1]
    seconds = ended[-1] - first
    return {
        "speeds": tuple(sorted(flags.speed, reverse=True)),
        "chunks": tuple(sorted(counts, reverse=True)),
        "seconds": seconds,
        "ideal_s": ideal,
        "tail_s": tail_s,
        "efficiency": ideal / seconds,
        "tail": tail_s / seconds,
    }


def made_up_lengths(count: int, seed: int) -> list[int]:
    """Lengths of chunks in tokens, most of them short."""
    drawn = random.Random(seed)
    lengths = (drawn.lognormvariate(np.log(MEDIAN_CHUNK), SPREAD) for _ in range(count))
    return [max(SHORTEST_CHUNK, min(LONGEST_CHUNK, int(length))) for length in lengths]


def _claimed(addresses: Sequence[ServerAddress], folder: Path, logs: Path) -> Server:
    """The first of the servers that no actor has claimed."""
    for number, address in enumerate(addresses):
        with contextlib.suppress(FileExistsError):
            (folder / f"claimed-{number}").mkdir()
            return Together(Lent(address), folder / "ready", len(addresses), TOGETHER_WITHIN_S)
    raise RunError("an actor was started again: measure anew")
