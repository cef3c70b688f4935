"""The notice that an actor has to go: a SIGTERM, or its node being drained."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable

import ray
import ray._private.state

DRAIN_POLL_S = 2.0
MARGIN_S = 5.0  # before the node's deadline, for writing down what was answered last


class Notice:
    """Waits for the notice in a thread of its own, then calls `leave` once with the seconds that are left.

    Ray drains a node before it takes it away: `ray start --block` does so when it gets a SIGTERM, as pods and
    spot machines do, and `ray drain-node` at any time. A SIGTERM of the actor's own process comes from
    `ray stop`, systemd or Slurm.
    """

    def __init__(self, leave: Callable[[float], None], *, grace_s: float) -> None:
        self._leave, self._grace_s = leave, grace_s
        self._told = threading.Event()

    def watch(self) -> None:
        """Start waiting. To be called in the process's main thread; Ray's own answer to a SIGTERM, which ends the
        process at once, is replaced."""
        signal.signal(signal.SIGTERM, lambda *_: self._told.set())
        threading.Thread(target=self._watch, name="notice", daemon=True).start()

    def _watch(self) -> None:
        node = ray.get_runtime_context().get_node_id()
        left_s = None
        while left_s is None and not self._told.wait(DRAIN_POLL_S):
            with contextlib.suppress(Exception):  # the head is gone: a matter of others
                left_s = _left_s(node)
        with contextlib.suppress(ReferenceError):  # the actor has come to its end
            self._leave(self._grace_s if left_s is None else min(self._grace_s, left_s))


def _left_s(node: str) -> float | None:
    """Seconds until a node that drains is taken away; None where it does not drain."""
    deadlines_ms = ray._private.state.state.get_draining_nodes()  # Ray has no public way to ask
    if node not in deadlines_ms:
        return None
    deadline_ms = deadlines_ms[node]
    return max(0.0, deadline_ms / 1000 - time.time() - MARGIN_S) if deadline_ms else float("inf")


def in_actor() -> bool:
    """Whether this process is one of Ray's actors."""
    return ray.is_initialized() and bool(ray.get_runtime_context().get_actor_id())
