"""The GPUs as NVML sees them: on a machine with one they are told, on one without that is told."""

import os
from pathlib import Path

import pynvml
import pytest

from actors.servers import sglang
from extraction.errors import RunError

HAS_GPU = Path("/dev/nvidiactl").exists()


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_without_a_driver_the_cause_is_told() -> None:
    for look in (sglang.visible, sglang.processes):
        with pytest.raises(RunError, match=r"no GPU can be seen: NVML says .*Is the driver there"):
            look()


@pytest.mark.skipif(not HAS_GPU, reason="there is no GPU")
def test_the_devices_of_the_environment_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    everything = sglang.visible()
    assert everything and all(found.name and found.vram_gib > 1 for found in everything)
    pynvml.nvmlInit()
    uuid = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))
    pynvml.nvmlShutdown()
    for named in ("0", uuid):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert sglang.visible() == everything[:1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert sglang.visible() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-none")
    with pytest.raises(RunError, match="CUDA_VISIBLE_DEVICES names 'MIG-none', of which NVML says"):
        sglang.visible()


@pytest.mark.skipif(not HAS_GPU, reason="there is no GPU")
def test_processes_are_told_by_device() -> None:
    for found in sglang.processes():
        assert found["gpu"] >= 0 and found["uuid"].startswith(("GPU-", "MIG-"))
        assert found["pid"] != os.getpid()
