"""The cluster files are valid, obey the rules that schemas do not know, and open nothing; checks bite."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .checks import Manifest, entrypoint_files, job_complaints, load, placeholders, ray_up_complaints
from .exposure import exposure_complaints, pod_security_complaints, ray_up_exposure_complaints
from .schemas import crd_complaints, crd_schema, ray_up_schema, schema_complaints

ROOT = Path(__file__).parents[2]
CRD_FOLDER = ROOT.parent / "shared" / "kuberay"
JOB_FILE = ROOT / "cluster" / "kuberay-rayjob.yaml"
RAY_UP_FILE = ROOT / "cluster" / "ray-up-aws.yaml"
REMOVED = object()

CLUSTER = "spec.rayClusterSpec"
HEAD = f"{CLUSTER}.headGroupSpec"
HEAD_POD = f"{HEAD}.template.spec"
GPU = f"{CLUSTER}.workerGroupSpecs.1"
GPU_POD = f"{GPU}.template.spec"
GPU_BOX = f"{GPU_POD}.containers.0"
GPU_NODE = "available_node_types.gpu-24gb"
Change = tuple[str, Any]

needs_crds = pytest.mark.skipif(not CRD_FOLDER.is_dir(), reason="no definitions beside the checkout")


def changed(document: Manifest, *changes: Change) -> Manifest:
    """Copy a document with values set or removed at dotted paths."""
    copy: Manifest = json.loads(json.dumps(document))
    for path, value in changes:
        *parents, last = path.split(".")
        node: Any = copy
        for key in parents:
            node = node[int(key)] if isinstance(node, list) else node[key]
        if value is REMOVED:
            del node[last]
        else:
            node[last] = value
    return copy


@pytest.fixture(name="job")
def fixture_job() -> Manifest:
    return load(JOB_FILE)


@pytest.fixture(name="ray_up")
def fixture_ray_up() -> Manifest:
    return load(RAY_UP_FILE)


@needs_crds
def test_rayjob_fits_its_definition(job: Manifest) -> None:
    assert crd_complaints(job, crd_schema(CRD_FOLDER, "RayJob")) == []


@needs_crds
@pytest.mark.parametrize(
    "change",
    [
        ("spec.backofLimit", 1),
        ("spec.backoffLimit", "1"),
        ("spec.submitterPodTemplate.spec.restartPolcy", "Never"),
        (f"{CLUSTER}.enableInTreeAutoscalling", True),
        (f"{CLUSTER}.authOptions.mode", "tokens"),
        (f"{GPU}.maxReplica", 8),
        (f"{GPU}.labels", {"extract/vram-gb": 24}),
        (f"{GPU_POD}.tolerations", [{"key": "nvidia.com/gpu", "operatr": "Exists"}]),
        (f"{GPU_BOX}.envFrom", [{"secretReff": {"name": "storage"}}]),
        (f"{GPU_BOX}.resources.limit", {"nvidia.com/gpu": "1"}),
        (f"{GPU_POD}.volumes", [{"name": "shm", "emptyDir": {"sizeLimt": "1Gi"}}]),
        (f"{HEAD_POD}.containers.0.name", REMOVED),
    ],
    ids=lambda change: change[0].removeprefix("spec."),
)
def test_definition_refuses_a_misspelt_field(job: Manifest, change: Change) -> None:
    assert len(crd_complaints(changed(job, change), crd_schema(CRD_FOLDER, "RayJob"))) == 1


def test_ray_up_fits_the_schema_of_the_wheel(ray_up: Manifest) -> None:
    assert schema_complaints(ray_up, ray_up_schema()) == []


@pytest.mark.parametrize(
    "change",
    [
        ("idle_timeout_minute", 5),
        ("cluster_name", REMOVED),
        ("auth.ssh_usr", "ubuntu"),
        (f"{GPU_NODE}.max_worker", 8),
        (f"{GPU_NODE}.resources", {"GPU": 0.5}),
        (f"{GPU_NODE}.labels", {"extract/vram-gb": 24}),
    ],
    ids=lambda change: change[0],
)
def test_wheel_refuses_a_misspelt_field(ray_up: Manifest, change: Change) -> None:
    assert len(schema_complaints(changed(ray_up, change), ray_up_schema())) == 1


@pytest.mark.parametrize("check", [job_complaints, pod_security_complaints, exposure_complaints])
def test_rayjob_is_right(job: Manifest, check: Callable[[Manifest], list[str]]) -> None:
    assert check(job) == []


@pytest.mark.parametrize("check", [ray_up_complaints, ray_up_exposure_complaints, exposure_complaints])
def test_ray_up_is_right(ray_up: Manifest, check: Callable[[Manifest], list[str]]) -> None:
    assert check(ray_up) == []


SIDECAR = ("spec.submissionMode", "SidecarMode")
INTERACTIVE = ("spec.submissionMode", "InteractiveMode")
SUSPEND = ("spec.suspend", True)
SELECTOR = ("spec.clusterSelector", {"ray.io/cluster": "shared"})
STAYS = ("spec.shutdownAfterJobFinishes", False)
NO_AUTOSCALING = (f"{CLUSTER}.enableInTreeAutoscaling", False)


@pytest.mark.parametrize(
    ("complaint", "changes"),
    [
        ("name: over 47", [("metadata.name", "e" * 48)]),
        ("name: not a DNS", [("metadata.name", "1-extract")]),
        ("entrypoint: missing", [("spec.entrypoint", REMOVED)]),
        ("suspend: needs shutdown", [SUSPEND, STAYS]),
        ("suspend: excludes clusterSelector", [SUSPEND, SELECTOR]),
        ("ttlSecondsAfterFinished: needs", [STAYS]),
        ("ttlSecondsAfterFinished: negative", [("spec.ttlSecondsAfterFinished", -1)]),
        (
            "deletionRules: exclude",
            [("spec.deletionStrategy", {"deletionRules": [{"policy": "DeleteSelf"}]})],
        ),
        ("rayClusterSpec or clusterSelector", [(CLUSTER, REMOVED)]),
        ("clusterSelector: excludes SidecarMode", [SELECTOR, SIDECAR]),
        ("backoffLimit: excludes clusterSelector", [SELECTOR]),
        ("backoffLimit: excludes InteractiveMode", [INTERACTIVE]),
        ("backoffLimit: negative", [("spec.backoffLimit", -1)]),
        ("submitterPodTemplate: excludes", [SIDECAR]),
        ("submitterConfig: excludes", [SIDECAR, ("spec.submitterConfig", {"backoffLimit": 1})]),
        ("SidecarMode needs Never", [SIDECAR, (f"{HEAD_POD}.restartPolicy", "Always")]),
        ("activeDeadlineSeconds: not positive", [("spec.activeDeadlineSeconds", 0)]),
        ("preRunningDeadlineSeconds: not", [("spec.preRunningDeadlineSeconds", 0)]),
        ("token needs rayVersion", [(f"{CLUSTER}.rayVersion", "2.51.1")]),
        ("token needs rayVersion", [(f"{CLUSTER}.rayVersion", REMOVED)]),
        ("enableK8sTokenAuth", [(f"{CLUSTER}.authOptions.enableK8sTokenAuth", True)]),
        ("a name twice", [(f"{GPU}.groupName", "cpu")]),
        ("num-cpus is not 0", [(f"{HEAD}.rayStartParams", {})]),
        ("both are needed", [(f"{GPU}.minReplicas", REMOVED)]),
        ("both are needed", [(f"{GPU}.maxReplicas", REMOVED)]),
        ("replicas: negative", [(f"{GPU}.minReplicas", -1)]),
        ("over maxReplicas", [(f"{GPU}.minReplicas", 9)]),
        ("no container", [(f"{CLUSTER}.workerGroupSpecs.0.template.spec.containers", [])]),
        (
            "in rayStartParams too",
            [(f"{GPU}.resources", {"GPU": "1"}), (f"{GPU}.rayStartParams", {"num-gpus": "1"})],
        ),
        ("rayStartParams.labels", [(f"{GPU}.rayStartParams", {"labels": "a=b"})]),
        ("labels: not a key", [(f"{GPU}.labels", {"extract/vram gb": "24", "extract/vram-gb": "24"})]),
        ("labels: not a value", [(f"{GPU}.labels", {"extract/vram-gb": "24", "kind": "-l4"})]),
        ("autoscaler v2 needs Never", [(f"{GPU_POD}.restartPolicy", "Always")]),
        ("autoscaler v2 needs Never", [(f"{HEAD_POD}.restartPolicy", "OnFailure")]),
        ("idleTimeoutSeconds: needs", [NO_AUTOSCALING]),
        ("idleTimeoutSeconds: needs", [(f"{CLUSTER}.autoscalerOptions.version", "v1")]),
        ("idleTimeoutSeconds: negative", [(f"{GPU}.idleTimeoutSeconds", -1)]),
        ("suspend: excludes autoscaling", [(f"{GPU}.suspend", True)]),
        ("not in limits", [(f"{GPU_BOX}.resources", {"requests": {"nvidia.com/gpu": "1"}})]),
        ("num-gpus: in rayStartParams", [(f"{GPU}.rayStartParams", {"num-gpus": "1"})]),
        ("labels: no extract/vram-gb", [(f"{GPU}.labels", REMOVED)]),
        ("/dev/shm", [(f"{GPU_POD}.volumes", [{"name": "shm", "emptyDir": {}}])]),
        ("/dev/shm", [(f"{GPU_BOX}.volumeMounts", REMOVED)]),
        ("tolerations", [(f"{GPU_POD}.tolerations", REMOVED)]),
        ("terminationGracePeriodSeconds", [(f"{GPU_POD}.terminationGracePeriodSeconds", REMOVED)]),
    ],
)
def test_controller_rules_bite(job: Manifest, complaint: str, changes: list[Change]) -> None:
    assert any(complaint in each for each in job_complaints(changed(job, *changes)))


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("among available_node_types", ("head_node_type", "driver")),
        ("sum of min_workers", (f"{GPU_NODE}.min_workers", 13)),
        ("head: takes work", ("available_node_types.head.resources", {})),
        ("head: may be a worker", ("available_node_types.head.max_workers", 1)),
        ("idle_timeout_minutes", ("idle_timeout_minutes", REMOVED)),
        ("not from the lock", ("setup_commands", ["pip install -r requirements.txt"])),
        ("project not installed", ("setup_commands", ["uv pip install -e ."])),
        ("min_workers, max_workers", (f"{GPU_NODE}.max_workers", REMOVED)),
        ("no extract/vram-gb", (f"{GPU_NODE}.labels", REMOVED)),
    ],
)
def test_launcher_rules_bite(ray_up: Manifest, complaint: str, change: Change) -> None:
    assert any(complaint in each for each in ray_up_complaints(changed(ray_up, change)))


@pytest.mark.parametrize("file", [JOB_FILE, RAY_UP_FILE], ids=lambda file: file.name)
def test_readme_names_every_placeholder(file: Path) -> None:
    wanted = placeholders(file.read_text(encoding="utf-8"))
    assert wanted and wanted <= placeholders((ROOT / "cluster" / "README.md").read_text(encoding="utf-8"))


def test_entrypoint_names_files_of_the_checkout(job: Manifest) -> None:
    files = entrypoint_files(job["spec"]["entrypoint"])
    assert files == ["jobs/extract.py", "configs/extract.yaml"]
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_file_mounts_name_files_of_the_checkout(ray_up: Manifest) -> None:
    mounted = [source for source in ray_up["file_mounts"].values() if not source.startswith("~")]
    assert [source for source in mounted if not (ROOT / source).exists()] == []
