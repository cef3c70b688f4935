"""How many servers a run asks for, and in what batches they get chunks."""

from dataclasses import dataclass

from extraction.config.settings import Servers
from jobs.stages import ray_cluster
from jobs.stages.run import Run

WAVES = 2  # a server is worth its start if it gets so many times what it works on at once: minutes of work
ASKED_AHEAD = 32  # servers beyond the GPUs that are there; a cluster of any size doubles from here
OVERBOOKING = 3  # rows handed to an actor for each request that its server works on: it never runs dry
TASKS_PER_WAITING = 4  # for so many tasks that an actor works on, one waits there: a slow GPU hoards little
MOST_ROWS = 32  # of a task: few enough to be done together, many enough for Ray to keep up
TASKS_WANTED = 64  # of a small run, so that its progress is seen
TASKS_TO_FILL = 16  # a server: Ray hands over some tens a second


@dataclass(frozen=True)
class PoolSize:
    """Servers: `wanted` from the start, whether their nodes are there or not, and at `most`. Chunks: `rows` a
    task, `calls` tasks that an actor works on, `tasks` that it holds.
    """

    wanted: int
    most: int
    rows: int
    calls: int
    tasks: int


def pool_size(missing: int, limit: int, servers: Servers, present: int, *, grows: bool) -> PoolSize:
    """The pool for so many missing chunks, on servers of which none takes more than `limit` requests.

    `present` is how many servers the cluster has GPUs for now; where it `grows`, more are asked for, because
    a server that waits for its node is what makes an autoscaler start one.
    """
    most = _deserved(missing, limit, servers)
    wanted = min(most, max(servers.min_servers, present + (ASKED_AHEAD if grows else 0)))
    share = -(-missing // wanted)  # the first actor that is ready leaves theirs to the others
    rows = min(MOST_ROWS, max(1, missing // TASKS_WANTED, min(limit, share) // TASKS_TO_FILL))
    calls = max(2, -(-min(OVERBOOKING * limit, share) // rows))
    tasks = max(2, min(calls + -(-calls // TASKS_PER_WAITING), -(-share // rows)))
    return PoolSize(wanted, most, rows, calls, tasks)


def _deserved(missing: int, limit: int, servers: Servers) -> int:
    """As many as the work keeps busy for a while, within what is allowed, and never one without a chunk."""
    deserved = max(servers.min_servers, -(-missing // (WAVES * limit)))
    return max(1, min(deserved, servers.max_servers or deserved, missing))


def size_for(run: Run, missing: int) -> PoolSize:
    """The pool that so many missing chunks deserve, on the cluster as it is now; without GPUs one server, or as
    many as the settings allow."""
    servers, fleet = run.settings.servers, run.fleet
    if fleet.gpus:
        return pool_size(missing, fleet.limit, servers, ray_cluster.places(fleet.gpus), grows=ray_cluster.grows())
    most = servers.max_servers or servers.min_servers
    return pool_size(missing, fleet.limit, servers.model_copy(update={"max_servers": most}), most, grows=False)
