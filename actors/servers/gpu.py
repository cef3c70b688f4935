"""The GPUs that this process may use, as NVML sees them."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pynvml

from extraction.errors import RunError

BYTES_PER_GIB, BYTES_PER_MIB = 1 << 30, 1 << 20


@dataclass(frozen=True)
class Gpu:
    """A device: its name and total memory in GiB."""

    name: str
    vram_gib: float


def visible() -> list[Gpu]:
    """The devices of CUDA_VISIBLE_DEVICES (indices, GPU or MIG names), or all where it is not set.

    Raises RunError when there is no driver or no such device.
    """
    with _nvml():
        asked = os.environ.get("CUDA_VISIBLE_DEVICES")
        names = [str(n) for n in range(pynvml.nvmlDeviceGetCount())] if asked is None else asked.split(",")
        return [_gpu(name.strip()) for name in names if name.strip()]


def processes() -> list[dict[str, Any]]:
    """The processes that compute on this machine's GPUs: `gpu` (its index), `uuid`, `pid`, `memory_mib`.

    Raises RunError when there is no driver.
    """
    found = []
    with _nvml():
        for index in range(pynvml.nvmlDeviceGetCount()):
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(pynvml.nvmlDeviceGetUUID(handle))
            for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
                used = (process.usedGpuMemory or 0) // BYTES_PER_MIB
                found.append({"gpu": index, "uuid": uuid, "pid": process.pid, "memory_mib": used})
    return found


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
