"""How many servers a run asks for, and in what batches they get chunks."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extraction.config.settings import Servers
from jobs.stages import ray_cluster
from jobs.stages.run import Run

WAVES = 2  # a server is worth its start if it gets so many times what it works on at once: minutes of work
ASKED_AHEAD = 32  # servers beyond the GPUs that are there; a cluster of any size doubles from here
MOST_ROWS = 32  # of a task: few enough to be done together, many enough for Ray to keep up
TASKS_OF_A_RUN = 250  # from which on tasks have more rows: Ray hands over some tens a second
TASKS_TO_FILL = 16  # all servers together
# Rows handed to an actor for each request that its server works on, so that it never runs dry, and more for each
# doubling of a task's rows: it is done with the slowest of them. What is handed over can't be taken back, so a slow
# GPU is to hoard little.
OVERBOOKING, MORE_A_DOUBLING = 1.5, 0.35
TASKS_PER_WAITING = 4  # for so many tasks that an actor works on, one waits there


@dataclass(frozen=True)
class PoolSize:
    """Servers: `initial` from the start, whether their nodes are there or not, and at most `maximum`, each working
    on at most `running` requests at once. Chunks: `rows` a task, `calls` tasks that an actor works on, `tasks` that
    it holds.
    """

    initial: int
    maximum: int
    running: int
    rows: int
    calls: int
    tasks: int


def pool_size(
    missing: int, limit: int, servers: Servers, present: int, *, grows: bool, queued: int = 1
) -> PoolSize:
    """The pool for so many missing chunks, on servers of which none takes more than `limit` requests, `queued` for
    each that it works on.

    `present` is how many servers the cluster has GPUs for now; where it `grows`, more are asked for, because
    a server that waits for its node is what makes an autoscaler start one.
    """
    most = _deserved(missing, limit, servers)
    wanted = min(most, max(servers.min_servers, present + (ASKED_AHEAD if grows else 0)))
    share = -(-missing // wanted)  # the first actor that is ready leaves theirs to the others
    rows = min(MOST_ROWS, max(1, missing // TASKS_OF_A_RUN, wanted * min(limit, share) // TASKS_TO_FILL))
    overbooking = OVERBOOKING + MORE_A_DOUBLING * math.log2(rows)
    running = max(1, limit // queued)
    calls = max(2, math.ceil(min(overbooking * running, share) / rows))
    tasks = max(2, min(calls + -(-calls // TASKS_PER_WAITING), -(-share // rows)))
    return PoolSize(wanted, most, running, rows, calls, tasks)


def _deserved(missing: int, limit: int, servers: Servers) -> int:
    """As many as the work keeps busy for a while, within what is allowed, and never one without a chunk."""
    deserved = max(servers.min_servers, -(-missing // (WAVES * limit)))
    return max(1, min(deserved, servers.max_servers or deserved, missing))


def size_for(run: Run, missing: int) -> PoolSize:
    """The pool that so many missing chunks deserve, on the cluster as it is now; without GPUs one server, or as
    many as the settings allow."""
    servers, fleet = run.settings.servers, run.fleet
    if fleet.gpus:
        present, limit = ray_cluster.gpu_slots(fleet.gpus), fleet.limit
        if len(set(fleet.limits.values())) > 1:
            limit = fleet.limit_on(run.settings.sglang.vram_gib or ray_cluster.gpu_memory_gib())
        size = pool_size(missing, limit, servers, present, grows=ray_cluster.may_autoscale(), queued=fleet.queued)
        if size.initial <= present:
            return size
        possible = max(present, ray_cluster.schedulable_servers(size.initial, fleet.gpus, servers.labels))
        if possible < size.initial:
            fewer = servers.model_copy(update={"max_servers": max(1, servers.min_servers, possible)})
            size = pool_size(missing, limit, fewer, possible, grows=False, queued=fleet.queued)
        return size
    most = servers.max_servers or servers.min_servers
    fixed = servers.model_copy(update={"max_servers": most})
    return pool_size(missing, fleet.limit, fixed, most, grows=False, queued=fleet.queued)


def round_robin_order(count: int, at_once: int, rows: int) -> npt.NDArray[np.int64]:
    """The order of `count` chunks, the longest first, in which those that servers work on at once are dealt out to
    tasks of `rows` as cards are: no server gets all the long ones.

        round_robin_order(8, 4, 2)  # [0, 2, 1, 3, 4, 6, 5, 7]
    """
    hand = -(-at_once // rows) * rows
    order = [np.empty(0, np.int64)]
    for start in range(0, count, hand):
        held = np.arange(start, min(count, start + hand))
        tasks = -(-len(held) // rows)
        order += [held[task::tasks] for task in range(tasks)]
    return np.concatenate(order)
