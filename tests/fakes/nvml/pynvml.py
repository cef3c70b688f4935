"""NVML where there is no GPU, for processes that have this folder on their path: one device of FAKE_VRAM_GIB."""

import os
from types import SimpleNamespace

GIB = 1 << 30


class NVMLError(Exception):
    """As NVML's."""


def nvmlInit() -> None:
    """Nothing to do."""


def nvmlShutdown() -> None:
    """Nothing to do."""


def nvmlDeviceGetCount() -> int:
    return 1


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetHandleByUUID(uuid: str) -> int:
    return 0


def nvmlDeviceGetUUID(handle: int) -> str:
    return f"GPU-{handle}"


def nvmlDeviceGetName(handle: int) -> str:
    return "Fake"


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    return SimpleNamespace(total=int(float(os.environ["FAKE_VRAM_GIB"]) * GIB))
