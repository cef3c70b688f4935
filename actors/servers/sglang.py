"""Runs SGLang on GPUs, with the flags that fit the memory of the GPUs that NVML shows this process."""

import contextlib
import json
import os
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import pynvml
import yaml

from actors.servers.process import ProcessOwner, ServerProcess, new_key
from actors.servers.supervisor import DIRECT, PROBE_TIMEOUT_S, ServerAddress, log_line, wait_until_healthy
from extraction.config.settings import Settings
from extraction.config.sglang_presets import Flags, Matrix, choose_preset, step_down, step_up
from extraction.errors import OperatorError, RunError

BYTES_PER_GIB, BYTES_PER_MIB = 1 << 30, 1 << 20


@dataclass(frozen=True)
class Gpu:
    """A GPU: its name and total memory in GiB."""

    name: str
    vram_gib: float


def visible_gpus() -> list[Gpu]:
    """The GPUs of CUDA_VISIBLE_DEVICES (indices, GPU or MIG names), or all where it is not set.

    Raises RunError when there is no driver or no such GPU.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return node_gpus()
    with _nvml():
        return [_gpu(name.strip()) for name in visible.split(",") if name.strip()]


def node_gpus() -> list[Gpu]:
    """All GPUs of this machine, whoever may use them. Raises RunError when there is no driver."""
    with _nvml():
        return [_gpu(str(n)) for n in range(pynvml.nvmlDeviceGetCount())]


def processes() -> list[dict[str, Any]]:
    """The processes on this machine's GPUs: `gpu` (its index), `uuid`, `pid`, `memory_mib`.

    Raises RunError when there is no driver.
    """
    rows = []
    with _nvml():
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                used = (process.usedGpuMemory or 0) // BYTES_PER_MIB
                rows.append({"gpu": index, "uuid": uuid, "pid": process.pid, "memory_mib": used})
    return rows


@contextlib.contextmanager
def _nvml() -> Iterator[None]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        raise RunError(
            f"no GPU can be seen: NVML says {error}. Is the driver there, has the actor a GPU?"
        ) from None
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _gpu(name: str) -> Gpu:
    try:
        if name.isdigit():
            handle = pynvml.nvmlDeviceGetHandleByIndex(int(name))
        else:
            handle = pynvml.nvmlDeviceGetHandleByUUID(name)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        return Gpu(str(pynvml.nvmlDeviceGetName(handle)), memory / BYTES_PER_GIB)
    except pynvml.NVMLError as error:
        raise RunError(f"CUDA_VISIBLE_DEVICES names {name!r}, of which NVML says: {error}") from None


CUDA_ORDER = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}  # NVML's and Ray's; CUDA's own puts the fastest GPU first
QUEUED_PER_RUNNING = 2  # requests sent for each that runs: the next one is in the server's queue already
STATIC_TOO_SMALL = ("leave no GPU memory for the KV cache", "Not enough memory. Please try to increase")
OUT_OF_MEMORY = ("out of memory", "Not enough memory", "Capture cuda graph failed", *STATIC_TOO_SMALL)
NO_MEMORY = (
    "the GPU's memory is not enough, not for the smallest flags either (chunked_prefill_size 2048, few requests). "
    "See who else holds it (nvidia-smi), or take a smaller model or a larger GPU. "
)
CAUSES = {
    "unrecognized arguments": "it does not know a flag",
    "ambiguous option": "it does not know a flag",
    "is not a local folder and is not a valid model identifier": "there is no such model",
    "No such file or directory": "a file of the model is missing",
    "address already in use": "its port was taken",
    "NVIDIA driver": "the GPU's driver does not fit",
}


class SglangServer(ProcessOwner):
    """Owns one SGLang process tree on the GPUs that Ray gave this actor."""

    def __init__(self, settings: Settings, matrix: Matrix, served_name: str, logs: Path) -> None:
        self.settings, self.served_name = settings, served_name
        config, count = settings.sglang, settings.servers.gpus_per_server
        gpus = [Gpu("GPU", config.vram_gib)] * count if config.vram_gib else visible_gpus()[:count]
        if len(gpus) < count:
            raise RunError(f"servers.gpus_per_server is {count}, and this actor sees {len(gpus)} GPUs")
        self.gpu = gpu = min(gpus, key=attrgetter("vram_gib"))
        self.choice = choose_preset(matrix, config.scenario, gpu.name, gpu.vram_gib, gpus=count, over=config.flags)
        self.flags: Flags = self.choice.flags
        self.name = f"sglang-{self.choice.name}"
        self.log = logs / f"sglang-{uuid.uuid4().hex[:8]}.log"
        log_line(f"scenario {self.choice.reason}")

    def start(self) -> ServerAddress:
        """Start the process and wait until it is healthy; out of memory, with the next smaller flags."""
        while True:
            try:
                return self.start_at_free_port(self._start)
            except RunError as error:
                out_of_memory = any(sign in str(error) for sign in OUT_OF_MEMORY)
                if any(sign in str(error) for sign in STATIC_TOO_SMALL):
                    other = step_up(self.flags, self.gpu.vram_gib, self.settings.servers.gpus_per_server)
                else:
                    other = step_down(self.flags) if out_of_memory else None
                if other is None:
                    cause = NO_MEMORY if out_of_memory else _cause(str(error))
                    raise RunError(f"SGLang with row {self.choice.name}: {cause}{error}") from None
                changed = {k: v for k, v in other.explicit().items() if v != self.flags.explicit().get(k)}
                log_line(f"{self.name}: out of memory, trying {changed}")
                self.flags = other

    def _start(self, port: int) -> ServerAddress:
        self.stop()
        key, admin_key = new_key(), new_key()
        descriptor, secrets = tempfile.mkstemp(prefix="sglang-", suffix=".yaml")  # mode 0600
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yaml.safe_dump({"api-key": key, "admin-api-key": admin_key}, file)
        command = [sys.executable if word == "python" else word for word in self.settings.sglang.command]
        command += [*self._arguments(port), "--config", secrets]
        self._process = ServerProcess(command, log=self.log, env=CUDA_ORDER, secrets=(key, admin_key))
        root = f"http://127.0.0.1:{port}"
        try:
            self._process.start()
            wait_until_healthy(self._process, f"{root}/health", timeout_s=self.settings.servers.start_timeout_s)
            self.require_port(port)
            limit, metrics = QUEUED_PER_RUNNING * self._max_running(root, key), f"{root}/metrics"
            return ServerAddress(f"{root}/v1", key, self.served_name, limit, metrics, self._facts())
        except RunError:
            self.stop()
            raise
        finally:
            Path(secrets).unlink(missing_ok=True)

    def _arguments(self, port: int) -> list[str]:
        """The command line. It holds no keys, because other users can read it."""
        model, limit = self.settings.model, self.settings.limits.context_length
        options: dict[str, Any] = {
            **self.flags.arguments(),
            "context-length": min(self.flags.context_length or limit, limit),
            "model-path": os.path.expanduser(model.name),
            "revision": model.revision,
            "load-format": model.load_format,
            "served-model-name": self.served_name,
            "tp-size": self.settings.servers.gpus_per_server,
            "host": "127.0.0.1",
            "port": port,
            # The model's own generation_config has a repetition penalty, which garbles JSON.
            "sampling-defaults": "openai",
            "enable-cache-report": True,
            "enable-metrics": True,
        }
        flags = ((f"--{name}", value) for name, value in options.items() if value is not None)
        return [word for flag, value in flags for word in ([flag] if value is True else [flag, str(value)])]

    def _facts(self) -> dict[str, Any]:
        """The preset and the reason for it, the GPU with the least memory, and the current flags."""
        return {
            "scenario": self.choice.name,
            "reason": self.choice.reason,
            "gpu": self.gpu.name,
            "vram_gib": round(self.gpu.vram_gib, 1),
            "gpus": self.settings.servers.gpus_per_server,
            "flags": self.flags.explicit(),
        }

    def _max_running(self, root: str, key: str) -> int:
        """The number of requests that the server runs at a time. Raises OperatorError if it has another model."""
        models = _get(f"{root}/v1/models", key)
        served = [model.get("id") for model in models.get("data", [])]
        if self.served_name not in served:
            raise OperatorError(f"the server on our port serves {served}, not {self.served_name!r}")
        states = _get(f"{root}/server_info", key).get("internal_states") or [{}]
        running = states[0].get("effective_max_running_requests_per_dp") or self.flags.max_running_requests
        return int(running or 1)


def _get(url: str, key: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    try:
        with DIRECT.open(request, timeout=PROBE_TIMEOUT_S) as response:
            body: dict[str, Any] = json.loads(response.read())
    except (OSError, ValueError) as error:
        raise RunError(f"it was healthy, and then {url.rsplit('/', 1)[-1]} failed ({error})") from None
    return body


def _cause(log: str) -> str:
    return next((f"{cause}. " for sign, cause in CAUSES.items() if sign in log), "")
