"""SGLang starts, restarts and stops; the fake server is spawned by the code that spawns the real one."""

import os
import signal
import sys
from pathlib import Path

import psutil
import pynvml
import pytest

from actors.servers import sglang
from actors.servers.sglang import SglangServer
from actors.servers.supervisor import DIRECT
from extraction.config.settings import Settings
from extraction.config.sglang_presets import load_matrix
from extraction.errors import OperatorError, RunError
from tests.actors.clients import make_settings
from tests.actors.sglang_options import VERSIONS, options
from tests.fakes.process import eventually

HAS_GPU = Path("/dev/nvidiactl").exists()


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
def test_without_a_driver_the_cause_is_raised() -> None:
    for query in (sglang.visible_gpus, sglang.processes):
        with pytest.raises(RunError, match=r"no GPU can be seen: NVML says .*Is the driver there"):
            query()


@pytest.mark.skipif(not HAS_GPU, reason="there is no GPU")
def test_the_devices_of_the_environment_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    gpus = sglang.visible_gpus()
    assert gpus and all(gpu.name and gpu.vram_gib > 1 for gpu in gpus)
    pynvml.nvmlInit()
    uuid = pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(0))
    pynvml.nvmlShutdown()
    for name in ("0", uuid):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", name)
        assert sglang.visible_gpus() == gpus[:1]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert sglang.visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-none")
    with pytest.raises(RunError, match="CUDA_VISIBLE_DEVICES names 'MIG-none', of which NVML says"):
        sglang.visible_gpus()


@pytest.mark.skipif(not HAS_GPU, reason="there is no GPU")
def test_processes_are_listed_by_device() -> None:
    for process in sglang.processes():
        assert process["gpu"] >= 0 and process["uuid"].startswith(("GPU-", "MIG-"))
        assert process["pid"] != os.getpid()


MATRIX = load_matrix(Path("configs/scenarios.yaml"))
FAKE = ["python", "-m", "tests.fakes.server"]


def server(tmp_path: Path, *flags: str, scenario: str = "auto", vram_gib: float = 79.6) -> SglangServer:
    settings: Settings = make_settings(
        sglang={"command": [*FAKE, *flags], "vram_gib": vram_gib, "scenario": scenario},
        servers={"start_timeout_s": 20},
    )
    return SglangServer(settings, MATRIX, "house", tmp_path)


def pid_of(running: SglangServer) -> int:
    assert running._process is not None
    assert running._process.pid is not None
    return running._process.pid


def test_it_starts_with_the_flags_of_its_preset_and_reads_its_limit_back(tmp_path: Path) -> None:
    running = server(tmp_path)
    try:
        address = running.start()
        assert (address.limit, address.model) == (2 * 128, "house")
        assert address.url.startswith("http://127.0.0.1:")
        assert "auto_80gb" in running.name
    finally:
        running.stop()


def test_keys_are_in_no_command_line_and_their_file_is_gone(tmp_path: Path) -> None:
    running = server(tmp_path)
    try:
        address = running.start()
        command = psutil.Process(pid_of(running)).cmdline()
        assert address.api_key not in " ".join(command)
        assert not Path(command[command.index("--config") + 1]).exists()
        assert command[command.index("--cuda-graph-max-bs-decode") + 1] == "128"
        assert "--enable-mixed-chunk" in command
        with pytest.raises(OSError, match="401"):
            DIRECT.open(f"{address.url}/models", timeout=5)
    finally:
        running.stop()


def test_its_log_does_not_hold_the_keys_that_it_prints(tmp_path: Path) -> None:
    loud = f'cat "${{@: -1}}"; exec {sys.executable} -m tests.fakes.server "$@"'
    settings = make_settings(sglang={"command": ["bash", "-c", loud, "bash"], "vram_gib": 79.6})
    running = SglangServer(settings, MATRIX, "house", tmp_path)
    try:
        key = running.start().api_key
        log = running.log.read_text()
    finally:
        running.stop()
    assert log.splitlines()[:2] == ["admin-api-key: [key]", "api-key: [key]"]
    assert key not in log


@pytest.mark.parametrize("version", VERSIONS)
def test_every_option_on_its_command_line_is_one_that_sglang_has(tmp_path: Path, version: str) -> None:
    settings = make_settings(
        sglang={"command": FAKE, "vram_gib": 79.6},
        model={"name": "house", "revision": "main", "load_format": "dummy"},
    )
    words = SglangServer(settings, MATRIX, "house", tmp_path)._arguments(1)
    flags = {word for word in words if word.startswith("--")}
    assert {"--config", "--admin-api-key", *flags} <= options(version)
    assert len(flags) > 15 and not flags & {"--api-key", "--admin-api-key", "--trust-remote-code"}


def test_nothing_of_its_tree_is_left(tmp_path: Path) -> None:
    running = server(tmp_path, "--child")
    running.start()
    family = [psutil.Process(pid_of(running)), *psutil.Process(pid_of(running)).children(recursive=True)]
    assert len(family) >= 2
    running.stop()
    gone, alive = psutil.wait_procs(family, timeout=5)
    assert not alive
    assert len(gone) == len(family)


def test_a_killed_server_restarts_on_another_port(tmp_path: Path) -> None:
    running = server(tmp_path)
    try:
        first = running.start()
        os.kill(pid_of(running), signal.SIGKILL)
        assert eventually(lambda: not running.alive)
        assert running.start().url != first.url
    finally:
        running.stop()


def test_out_of_memory_steps_down_the_ladder_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = server(tmp_path, "--fail-start", "torch.OutOfMemoryError: CUDA out of memory.")
    with pytest.raises(RunError, match=r"SGLang with row auto_80gb: the GPU's memory is not enough.*nvidia-smi"):
        running.start()
    lines = [line for line in capsys.readouterr().err.splitlines() if "trying" in line]
    assert len(lines) == 3
    assert "'mem_fraction_static': 0.75" in lines[0]
    assert not running.alive


def test_another_failure_is_raised_with_its_cause_and_the_log(tmp_path: Path) -> None:
    running = server(tmp_path, "--fail-start", "error: unrecognized arguments: --nonsense")
    with pytest.raises(
        RunError, match=r"(?s)it does not know a flag\. the server ended with status 1 .*--nonsense"
    ) as caught:
        running.start()
    assert "auto_80gb" in str(caught.value)


def test_gpus_have_the_numbers_that_nvml_and_ray_give_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "FASTEST_FIRST")
    telling = ["bash", "-c", "echo order $CUDA_DEVICE_ORDER; exit 1"]
    settings = make_settings(sglang={"command": telling, "vram_gib": 79.6})
    with pytest.raises(RunError, match="order PCI_BUS_ID"):
        SglangServer(settings, MATRIX, "house", tmp_path).start()


def test_a_server_of_another_model_is_not_ours(tmp_path: Path) -> None:
    other = f'exec {sys.executable} -m tests.fakes.server "$@" --served-model-name another'
    settings = make_settings(sglang={"command": ["bash", "-c", other, "bash"], "vram_gib": 79.6})
    running = SglangServer(settings, MATRIX, "house", tmp_path)
    try:
        with pytest.raises(OperatorError, match=r"serves \['another'\], not 'house'"):
            running.start()
    finally:
        running.stop()


def test_tensor_parallel_takes_the_smallest_of_its_gpus(tmp_path: Path) -> None:
    settings = make_settings(sglang={"command": FAKE, "vram_gib": 40}, servers={"gpus_per_server": 2})
    running = SglangServer(settings, MATRIX, "house", tmp_path)
    arguments = running._arguments(1)
    assert arguments[arguments.index("--tp-size") + 1] == "2"
    assert running.choice.name == "auto_40gb"
