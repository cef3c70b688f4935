"""A Ray cluster of real processes: `ray start` for a head and for workers, with ports of their own, a token, and
an end by pid."""

import contextlib
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psutil

from tests.conftest import ROOT
from tests.fakes.process import DIRECT, free_port

BIN = ROOT / ".venv" / "bin"
READY_S = 480
STORE_BYTES = 80 << 20
# Ray 2.60 asks for a token as soon as a head is started; its clients have to be told so.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Where many share two cores, a node's agents take longer than Ray waits for them.
PATIENCE = {
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_worker_niceness": "0",
    "RAY_metrics_report_interval_ms": "1000",
}
ENVIRONMENT = {**os.environ, **TOKEN, **PATIENCE, "PATH": f"{BIN}:{os.environ['PATH']}"}


class Node:
    """The processes of one `ray start --block`, and of everything that runs under it."""

    def __init__(self, log: Path, *flags: str, **environment: str) -> None:
        self.log, self.metrics_port = log, free_port()
        self.command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *flags]
        self.command += [f"--object-store-memory={STORE_BYTES}", f"--metrics-export-port={self.metrics_port}"]
        self.environment = ENVIRONMENT | environment
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        agents = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
        command = [*self.command, *(f"--{agent}-port={free_port()}" for agent in agents)]
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Wait until it has joined its cluster. Ray gives it half a minute; on a busy machine it tries again."""
        deadline = time.monotonic() + READY_S
        while "Ray runtime started" not in self.log.read_text():
            assert time.monotonic() < deadline, self.log.read_text()
            if self.process.poll() is not None:
                self.process = self._start()
            time.sleep(0.2)

    def metrics(self) -> str:
        """What its port for Prometheus says; nothing while it does not answer."""
        try:
            with DIRECT.open(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as response:
                return str(response.read().decode("utf-8"))
        except OSError:
            return ""

    def family(self) -> list[psutil.Process]:
        """Its processes, the youngest last; none when it has ended."""
        try:
            root = psutil.Process(self.process.pid)
            return [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def terminate(self) -> None:
        """A SIGTERM to `ray start`, as a pod or a spot machine gets it before its end."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL all of it, as a machine that is gone."""
        family = self.family()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait(30)
        psutil.wait_procs(family, timeout=30)


class RayCluster:
    """A head that takes no work, and the workers that were added to it."""

    def __init__(self, logs: Path) -> None:
        self.logs, self.port, self.dashboard = logs, free_port(), free_port()
        # One for each node, as on machines of their own: in one folder they unpack the job's files over each other.
        self.temporary = f"/tmp/ray-{os.getpid()}-{self.dashboard}"  # short: a socket's path has 107 characters
        flags = {
            "--port": self.port,
            "--dashboard-port": self.dashboard,
            "--ray-client-server-port": free_port(),
            "--num-cpus": 0,
            "--num-gpus": 0,
            "--temp-dir": f"{self.temporary}/head",
        }
        self.head = Node(logs / "head.log", "--head", *(f"{flag}={value}" for flag, value in flags.items()))
        self.workers: list[Node] = []
        self._numbers = count()

    @property
    def url(self) -> str:
        """Where jobs are submitted."""
        return f"http://127.0.0.1:{self.dashboard}"

    def add(self, cpus: int = 0, gpus: int = 0, labels: str = "", **environment: str) -> Node:
        """Start a worker; it joins when it is ready."""
        name = f"worker-{next(self._numbers)}"
        flags = [f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        flags += [f"--temp-dir={self.temporary}/{name}", *([f"--labels={labels}"] if labels else [])]
        worker = Node(self.logs / f"{name}.log", *flags, **environment)
        self.workers.append(worker)
        return worker

    def wait(self) -> None:
        """Wait until jobs can be submitted."""
        self.head.wait()
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert time.monotonic() < deadline, "the head's dashboard does not answer"
            time.sleep(0.2)

    def _answers(self) -> bool:
        try:
            with DIRECT.open(f"{self.url}/api/gcs_healthz", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def ray(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command of Ray's."""
        command = [str(BIN / "ray"), *words]
        return subprocess.run(
            command, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, timeout=READY_S, check=False
        )

    def submit(self, log: Path, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start `ray job submit`, which ends with the job; what it prints goes to the log."""
        words = [str(BIN / "ray"), "job", "submit", "--address", self.url, "--working-dir", ".", "--", *command]
        with log.open("wb") as file:
            return subprocess.Popen(words, env=ENVIRONMENT, cwd=ROOT, stdout=file, stderr=file)

    def stop(self) -> None:
        """End all of it."""
        for node in (*self.workers, self.head):
            node.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


@contextmanager
def ray_cluster(logs: Path) -> Iterator[RayCluster]:
    """A cluster for the length of a `with` block; its head answers."""
    cluster = RayCluster(logs)
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()
