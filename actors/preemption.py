"""Watches for the preemption of an actor: a SIGTERM, or the drain of its node."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable

import ray
import ray._private.state

DRAIN_POLL_S = 10.0  # on average: Ray's head is asked by every actor, and clouds give half a minute or more
MARGIN_S = 5.0  # before the node's deadline, for writing the last results


class PreemptionWatcher:
    """Waits in a thread of its own, then calls `on_preemption` once with the seconds that are left.

    Ray drains a node before it takes it away: `ray start --block` does so when it gets a SIGTERM, as pods and
    spot machines do, and `ray drain-node` at any time. A SIGTERM of the actor's own process comes from
    `ray stop`, systemd or Slurm.
    """

    def __init__(self, on_preemption: Callable[[float], None], *, grace_s: float) -> None:
        self._on_preemption, self._grace_s = on_preemption, grace_s
        self._terminated = threading.Event()

    def start(self) -> None:
        """Start waiting; to be called in the process's main thread. It replaces Ray's own handler of SIGTERM, which
        ends the process at once."""
        signal.signal(signal.SIGTERM, lambda *_: self._terminated.set())
        threading.Thread(target=self._watch, name="preemption", daemon=True).start()

    def _watch(self) -> None:
        node = ray.get_runtime_context().get_node_id()
        seconds = None
        while seconds is None and not self._terminated.wait(random.uniform(0.5, 1.5) * DRAIN_POLL_S):
            with contextlib.suppress(Exception):  # a head that is gone is not this thread's concern
                seconds = _seconds_left(node)
        with contextlib.suppress(ReferenceError):  # the actor is deleted
            self._on_preemption(self._grace_s if seconds is None else min(self._grace_s, seconds))


def _seconds_left(node: str) -> float | None:
    """Seconds until a draining node is taken away; None for a node that does not drain."""
    # Ray has no public way to ask: neither ray.nodes() nor ray.util.state tells of it. Ray Data asks so itself.
    deadlines_ms = ray._private.state.state.get_draining_nodes()
    if node not in deadlines_ms:
        return None
    deadline_ms = deadlines_ms[node]
    return max(0.0, deadline_ms / 1000 - time.time() - MARGIN_S) if deadline_ms else float("inf")


def in_actor() -> bool:
    """Whether this process is one of Ray's actors."""
    return ray.is_initialized() and bool(ray.get_runtime_context().get_actor_id())
