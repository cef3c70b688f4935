"""A Ray cluster of real processes: `ray start` for a head and for workers, with ports of their own, a token, and
an end by pid."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar
from urllib.request import Request

import psutil
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from actors.servers.process import free_port
from tests.conftest import ROOT
from tests.fakes.process import DIRECT
from tests.jobs.interrupting import family_of, kill_all, kill_family

BIN = ROOT / ".venv" / "bin"
READY_S = 480
STORE_BYTES = 80 << 20
HEAD_TYPE, HEAD_CPUS = "ray.head.default", 3
IDLE_S = 3
# Ray 2.60 asks for a token as soon as a head is started; its clients have to be told so.
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", secrets.token_hex(32))}
# Where many share two cores, a node's agents take longer than Ray waits for them.
PATIENCE = {
    "RAY_agent_register_timeout_ms": "180000",
    "RAY_gcs_rpc_server_connect_timeout_s": "60",
    "RAY_worker_niceness": "0",
    "RAY_JOB_STOP_WAIT_TIME_S": "60",
    "RAY_metrics_report_interval_ms": "2000",
    # A node that is gone is seen after five of these; how long one that is there may take to answer stays.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_DATA_USAGE_DISABLED": "1",
}
ENVIRONMENT = {**os.environ, **TOKEN, **PATIENCE, "PATH": f"{BIN}:{os.environ['PATH']}"}


class Node:
    """The processes of one `ray start --block`, and of everything that runs under it. `anew` gives flags that are
    drawn for each start."""

    def __init__(self, log: Path, anew: Callable[[], dict[str, Any]], *flags: str, **environment: str) -> None:
        self.log, self.anew = log, anew
        self.command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats", *flags]
        self.command += [f"--object-store-memory={STORE_BYTES}"]
        self.environment = ENVIRONMENT | environment
        self.process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        self.metrics_port = free_port()  # anew each time: what was free may be taken by now
        agents = ("dashboard-agent-listen", "dashboard-agent-grpc", "runtime-env-agent")
        flags = {f"--{agent}-port": free_port() for agent in agents}
        flags |= {"--metrics-export-port": self.metrics_port, **self.anew()}
        command = [*self.command, *(f"{flag}={value}" for flag, value in flags.items())]
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
                self.kill()  # what it has left
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
        return family_of(self.process.pid)

    def terminate(self) -> None:
        """A SIGTERM to `ray start`, as a pod or a spot machine gets it before its end."""
        self.process.terminate()

    def kill(self) -> None:
        """SIGKILL all of it, as a machine that is gone."""
        kill_all(self.process)


class RayCluster:
    """A head, which takes no work unless it has `cpus`, and the workers that were added to it."""

    def __init__(self, logs: Path, cpus: int = 0) -> None:
        self.logs = logs
        # One for each node, as on machines of their own: in one folder they unpack the job's files over each other.
        self.temporary = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # short: a socket's path has 107 characters
        words = ("--head", f"--num-cpus={cpus}", "--num-gpus=0", f"--temp-dir={self.temporary}/head")
        self.head = Node(logs / "head.log", self.drawn, *words, **self.environment)
        self.workers: list[Node] = []
        self._numbers = count()

    def drawn(self) -> dict[str, Any]:
        """Flags for each start of the head: its ports."""
        self.port, self.dashboard = free_port(), free_port()
        return {
            "--port": self.port,
            "--dashboard-port": self.dashboard,
            "--ray-client-server-port": free_port(),
        }

    @property
    def environment(self) -> dict[str, str]:
        """What the head's environment has beside that of all nodes."""
        return {}

    @property
    def url(self) -> str:
        """Where jobs are submitted."""
        return f"http://127.0.0.1:{self.dashboard}"

    def add(self, cpus: int = 0, gpus: int = 0, labels: str = "", **environment: str) -> Node:
        """Start a worker; it joins when it is ready."""
        name = f"worker-{next(self._numbers)}"
        flags = [f"--address=127.0.0.1:{self.port}", f"--num-cpus={cpus}", f"--num-gpus={gpus}"]
        flags += [f"--temp-dir={self.temporary}/{name}", *([f"--labels={labels}"] if labels else [])]
        worker = Node(self.logs / f"{name}.log", dict, *flags, **environment)
        self.workers.append(worker)
        return worker

    def wait(self) -> None:
        """Wait until jobs can be submitted."""
        self.head.wait()
        deadline = time.monotonic() + READY_S
        while not self._answers():
            assert time.monotonic() < deadline, f"the head does not answer: {self.head.log.read_text()}"
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

    def stop_job(self, job: str) -> None:
        """Ask Ray to stop a job, as `ray job stop` does."""
        token = {"Authorization": f"Bearer {TOKEN['RAY_AUTH_TOKEN']}"}
        with DIRECT.open(Request(f"{self.url}/api/jobs/{job}/stop", b"", token, method="POST")) as response:
            assert json.loads(response.read())["stopped"]

    def join(self, log: Path, command: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start a job whose driver joins the cluster, as those do that Ray starts."""
        environment = ENVIRONMENT | {"RAY_ADDRESS": f"127.0.0.1:{self.port}", "PYTHONPATH": str(ROOT)}
        with log.open("wb") as file:
            return subprocess.Popen(
                [str(BIN / "python"), *command], env=environment, cwd=ROOT, stdout=file, stderr=file
            )

    def stop(self) -> None:
        """End all of it."""
        for node in (*self.workers, self.head):
            node.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)


Cluster = TypeVar("Cluster", bound=RayCluster)
# What the autoscaler wants to find, and a provider without updaters has no use for.
COMMANDS = ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
UNUSED: dict[str, Any] = {f"{name}_commands": [] for name in COMMANDS} | {
    **{name: {} for name in ("auth", "docker", "file_mounts")},
    **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
    "file_mounts_sync_continuously": False,
}


class AutoscalingCluster(RayCluster):
    """A head with cores, whose autoscaler starts and ends nodes of the types given, on this machine."""

    def __init__(self, logs: Path, version: Literal["v1", "v2"], types: dict[str, dict[str, Any]]) -> None:
        self.version, self.types = version, types
        super().__init__(logs, cpus=HEAD_CPUS)

    @property
    def environment(self) -> dict[str, str]:
        """What Ray's fake provider wants."""
        return {
            "RAY_FAKE_CLUSTER": "1",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "AUTOSCALER_HEARTBEAT_TIMEOUT_S": "180",
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_enable_autoscaler_v2": str(int(self.version == "v2")),
            "PYTHONPATH": f"{ROOT}/tests/fakes/nvml:{ROOT}",
        }

    def drawn(self) -> dict[str, Any]:
        """The autoscaler's configuration too, which has the head's port."""
        flags = super().drawn()
        provider = {
            "type": "external",
            "module": "tests.jobs.cloud.FakeCloud",
            "gcs_address": f"127.0.0.1:{self.port}",
            "head_node_id": FAKE_HEAD_NODE_ID,
            "launch_multiple": True,
            "disable_node_updaters": True,
            "use_node_id_as_ip": True,  # they share one
            "folder": f"{self.temporary}/nodes",
        }
        head = {"resources": {"CPU": HEAD_CPUS}, "node_config": {}, "max_workers": 0}
        config = {
            "cluster_name": "fake",
            "provider": provider,
            "max_workers": 9,
            "idle_timeout_minutes": IDLE_S / 60,
            "upscaling_speed": 9,
            "head_node_type": HEAD_TYPE,
            "available_node_types": {HEAD_TYPE: head, **self.types},
            **UNUSED,
        }
        path = self.logs / "autoscaling.yaml"
        path.write_text(json.dumps(config))
        return {**flags, "--autoscaling-config": path}

    def events(self) -> list[dict[str, Any]]:
        """What the cloud did: `event` (start, end), `type`, `node`, the node's id, and `pid`."""
        journal = Path(self.temporary, "nodes", "journal")
        return [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []

    def stop(self) -> None:
        """End all of it."""
        self.head.kill()
        for event in self.events():
            kill_family(event["pid"])
        super().stop()

    def drain(self, node: str) -> None:
        """Reclaim a node, as a spot machine is."""
        words = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "reclaimed"]
        words += ["--deadline-remaining-seconds", "60", "--address", f"127.0.0.1:{self.port}", "--node-id", node]
        done = self.ray("drain-node", *words)
        assert done.returncode == 0, done.stderr

    def complaints(self) -> list[str]:
        """What the autoscaler v2 said of requests that no node can come for."""
        (path,) = Path(self.temporary, "head").glob("session_2*/logs/events/event_AUTOSCALER.log")
        said = [json.loads(line)["message"] for line in path.read_text().splitlines()]
        return [message for message in said if "No available node types" in message]


@contextmanager
def running(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster for the length of a `with` block; its head answers."""
    try:
        cluster.wait()
        yield cluster
    finally:
        cluster.stop()
