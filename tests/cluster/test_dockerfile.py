"""The images are built from the lock files, every hash checked, and run as nobody in particular."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from dockerfile_parse import DockerfileParser

from tests.conftest import ROOT

from .manifests import CLUSTER

DOCKERFILE = CLUSTER / "Dockerfile"
HADOLINT = str(Path(sys.executable).with_name("hadolint"))
LOCKS = ("requirements.lock", "requirements-gpu.lock")
CROSSING = ("ray", "pydantic", "pyarrow", "cloudpickle")  # what they pickle passes between the two images
Instruction = dict[str, str]


@pytest.fixture(name="stages")
def fixture_stages(tmp_path: Path) -> dict[str, list[Instruction]]:
    """The instructions of each stage by its name."""
    parser = DockerfileParser(path=str(tmp_path), cache_content=True)
    parser.content = DOCKERFILE.read_text(encoding="utf-8")
    found: dict[str, list[Instruction]] = {}
    for each in parser.structure:
        if each["instruction"] == "FROM":
            found[each["value"].split(" AS ")[1]] = []
        if found:
            found[list(found)[-1]].append(each)
    return found


def lock(name: str) -> dict[str, list[str]]:
    """The packages of a lock file by `name==version`, with their lines."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        if re.match(r"[a-z0-9]", line):
            found[line.split()[0]] = []
        if found:
            found[list(found)[-1]].append(line)
    return found


def said(stage: list[Instruction], instruction: str) -> list[str]:
    return [each["value"] for each in stage if each["instruction"] == instruction]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(("stage", "name"), [("cpu-packages", LOCKS[0]), ("gpu-packages", LOCKS[1])])
def test_packages_come_from_the_lock_alone(stages: dict[str, list[Instruction]], stage: str, name: str) -> None:
    assert said(stages[stage], "COPY") == [f"{name} /tmp/"]
    assert said(stages[stage], "RUN") == [f"pip install --require-hashes --no-deps --requirement /tmp/{name}"]
    installs = [run for each in stages.values() for run in said(each, "RUN") if "pip install" in run]
    assert len(installs) == len(LOCKS)


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_of_a_lock_has_a_version_and_a_hash(name: str) -> None:
    packages = lock(name)
    assert len(packages) > 100
    bare = [each for each, lines in packages.items() if "==" not in each or "--hash=sha256:" not in "".join(lines)]
    assert bare == []


def test_what_crosses_between_the_images_is_the_same_in_both() -> None:
    versions = [{each.split("==")[0]: each.split("==")[1] for each in lock(name)} for name in LOCKS]
    common = [{package: found.get(package) for package in CROSSING} for found in versions]
    assert common[0]["ray"] is not None
    differ = {p for p in CROSSING if common[0][p] != common[1][p] and None not in (common[0][p], common[1][p])}
    assert differ == set()
    cluster = yaml.safe_load((CLUSTER / "kuberay" / "base" / "raycluster.yaml").read_text(encoding="utf-8"))
    assert cluster["spec"]["rayVersion"] == common[0]["ray"]


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_an_image_runs_as_nobody_from_the_checkout(stages: dict[str, list[Instruction]], target: str) -> None:
    stage = stages[target]
    assert said(stage, "USER") == ["1000:1000"]
    assert said(stage, "WORKDIR") == ["/app"]
    assert "PYTHONPATH=/app" in said(stage, "ENV")[0]
    order = [each["instruction"] for each in stage]
    assert order.index("USER") > max(n for n, each in enumerate(order) if each in ("RUN", "COPY"))
    assert said(stage, "COPY") == [f"--from={target}-packages /opt/venv /opt/venv", "--from=checkout /app /app"]


def test_bases_are_pinned_by_a_tag_and_can_be_by_a_digest() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    bases = dict(re.findall(r"^ARG (\w+_BASE)=(\S+)", text, re.MULTILINE))
    assert bases.keys() == {"CPU_BASE", "GPU_BASE"}
    assert all(":" in base and not base.endswith(":latest") for base in bases.values())
    used = set(re.findall(r"^FROM \$\{(\w+)\}", text, re.MULTILINE))
    assert used == bases.keys()


def test_what_is_copied_is_there_and_not_ignored(stages: dict[str, list[Instruction]]) -> None:
    copied = {
        source
        for stage in stages.values()
        for value in said(stage, "COPY")
        if not value.startswith("--from=")
        for source in value.split()[:-1]
    }
    ignored = (CLUSTER / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
    assert [each for each in copied if not (ROOT / each).exists()] == []
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    assert {name.rstrip("*") for name in packages["find"]["include"]} <= copied
