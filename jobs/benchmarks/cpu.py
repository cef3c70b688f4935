"""CPU time by who used it: this process, Ray's own, its tasks, its actors, and a server beside them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import psutil

ROLES = ("driver", "ray", "tasks", "actors", "server")
Seconds = dict[str, float]


@dataclass
class CpuClock:
    """Seconds of CPU since it was made, by role. `servers` are process ids; a worker that has ended counts as a
    task, through the process that started it."""

    servers: tuple[int, ...] = ()
    _before: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._before = {pid: used for pid, used, _ in self._processes()}

    def seconds(self) -> Seconds:
        """By role, those that used none too."""
        found = dict.fromkeys(ROLES, 0.0)
        for pid, used, role in self._processes():
            found[role] += used - self._before.get(pid, 0)
        return found

    def _processes(self) -> Iterator[tuple[int, float, str]]:
        """The process ids of this process and all below it, negative for what their ended children used."""
        me = psutil.Process()
        for process in [me, *me.children(recursive=True)]:
            try:
                times, name = process.cpu_times(), " ".join(process.cmdline()[:1]) or process.name()
            except psutil.Error:
                continue
            yield process.pid, times.user + times.system, self._role(process.pid, name, me.pid)
            if name.endswith("raylet"):
                yield -process.pid, times.children_user + times.children_system, "tasks"

    def _role(self, pid: int, name: str, mine: int) -> str:
        if pid == mine:
            return "driver"
        if pid in self.servers:
            return "server"
        if not name.startswith("ray::"):
            return "ray"
        return "actors" if name.startswith("ray::MapWorker") else "tasks"


def per(seconds: Mapping[str, float], count: float) -> dict[str, float]:
    """Milliseconds for each of `count`, by role."""
    return {role: 1000 * used / count for role, used in seconds.items()}
