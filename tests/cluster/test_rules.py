"""KubeRay's rules that its schemas don't know hold for the manifests, and are found broken where they are."""

import pytest

from .checks import (
    Manifest,
    cluster_complaints,
    cron_job_complaints,
    job_spec_complaints,
    name_complaints,
)
from .manifests import ALL, RAYS, REMOVED, Change, changed

HEAD = "spec.headGroupSpec"
HEAD_POD = f"{HEAD}.template.spec"
CPU = "spec.workerGroupSpecs.0"
GPU = "spec.workerGroupSpecs.1"
GPU_POD = f"{GPU}.template.spec"
GPU_BOX = f"{GPU_POD}.containers.0"


def complaints(document: Manifest) -> list[str]:
    """All that the controller would say of a manifest."""
    if document["kind"] == "RayCronJob":
        return [*name_complaints(document), *cron_job_complaints(document)]
    check = cluster_complaints if document["kind"] == "RayCluster" else job_spec_complaints
    return [*name_complaints(document), *check(document["spec"])]


@pytest.mark.parametrize("name", RAYS)
def test_no_rule_is_broken(name: str) -> None:
    assert complaints(ALL[name]) == []


NO_AUTOSCALING = ("spec.enableInTreeAutoscaling", False)


@pytest.mark.parametrize(
    ("complaint", "changes"),
    [
        ("name: over 53", [("metadata.name", "e" * 54)]),
        ("name: not a DNS", [("metadata.name", "1-extract")]),
        ("token needs rayVersion", [("spec.rayVersion", "2.51.1")]),
        ("token needs rayVersion", [("spec.rayVersion", REMOVED)]),
        ("a name twice", [(f"{GPU}.groupName", "cpu")]),
        ("num-cpus is not 0", [(f"{HEAD}.rayStartParams", {})]),
        ("both are needed", [(f"{GPU}.minReplicas", REMOVED)]),
        ("both are needed", [(f"{GPU}.maxReplicas", REMOVED)]),
        ("over maxReplicas", [(f"{GPU}.minReplicas", 9)]),
        ("in rayStartParams too", [(f"{GPU}.resources", {"GPU": "1"})]),
        ("rayStartParams.labels", [(f"{GPU}.rayStartParams.labels", "a=b")]),
        ("labels: not a key", [(f"{GPU}.labels", {"extract/vram gb": "24", "extract/vram-gb": "24"})]),
        ("labels: not a value", [(f"{GPU}.labels", {"extract/vram-gb": "24", "kind": "-l4"})]),
        ("autoscaler v2 needs Never", [(f"{GPU_POD}.restartPolicy", "Always")]),
        ("autoscaler v2 needs Never", [(f"{HEAD_POD}.restartPolicy", "OnFailure")]),
        ("idleTimeoutSeconds: needs", [NO_AUTOSCALING]),
        ("idleTimeoutSeconds: needs", [("spec.autoscalerOptions.version", "v1")]),
        ("probes: missing", [(f"{GPU_BOX}.livenessProbe", REMOVED)]),
        ("not in limits", [(f"{GPU_BOX}.resources", {"requests": {"nvidia.com/gpu": "1"}})]),
        ("num-gpus: in rayStartParams", [(f"{GPU}.rayStartParams.num-gpus", "1")]),
        ("num-cpus: not 0", [(f"{GPU}.rayStartParams.num-cpus", REMOVED)]),
        ("labels: no extract/vram-gb", [(f"{GPU}.labels", REMOVED)]),
        ("/dev/shm: no emptyDir", [(f"{GPU_POD}.volumes.1", {"name": "shm", "emptyDir": {}})]),
        ("/dev/shm: no emptyDir", [(f"{GPU_BOX}.volumeMounts.1", REMOVED)]),
        ("/dev/shm: under", [(f"{GPU}.rayStartParams.object-store-memory", str(8 << 30))]),
        ("tolerations", [(f"{GPU_POD}.tolerations", REMOVED)]),
        ("terminationGracePeriodSeconds", [(f"{GPU_POD}.terminationGracePeriodSeconds", REMOVED)]),
        ("not within the grace period", [(f"{GPU_BOX}.env.2.value", "120")]),
    ],
)
def test_rules_of_clusters_bite(complaint: str, changes: list[Change]) -> None:
    assert any(complaint in each for each in complaints(changed(ALL["cluster"], *changes)))


SUSPEND = ("spec.suspend", True)
SELECTOR = ("spec.clusterSelector", {"ray.io/cluster": "shared"})
STAYS = ("spec.shutdownAfterJobFinishes", False)
DELETION = "spec.jobTemplate.deletionStrategy.deletionRules.0"
RULE = {"policy": "DeleteCluster", "condition": {"jobStatus": "FAILED"}}


@pytest.mark.parametrize(
    ("complaint", "changes"),
    [
        ("name: over 47", [("metadata.name", "e" * 48)]),
        ("entrypoint: missing", [("spec.entrypoint", REMOVED)]),
        ("suspend: needs shutdown", [SUSPEND, STAYS]),
        ("suspend: excludes clusterSelector", [SUSPEND, SELECTOR]),
        ("ttlSecondsAfterFinished: needs", [STAYS]),
        ("deletionRules: exclude shutdown", [("spec.deletionStrategy", {"deletionRules": [RULE]})]),
        ("rayClusterSpec or clusterSelector", [("spec.rayClusterSpec", REMOVED)]),
        ("backoffLimit: excludes clusterSelector", [SELECTOR]),
        ("num-cpus is not 0", [("spec.rayClusterSpec.headGroupSpec.rayStartParams", {})]),
    ],
)
def test_rules_of_jobs_bite(complaint: str, changes: list[Change]) -> None:
    assert any(complaint in each for each in complaints(changed(ALL["rayjob"], *changes)))


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("name: over 36", ("metadata.name", "e" * 37)),
        ("schedule: not five", ("spec.schedule", "0 2 * *")),
        ("clusterSelector: no ray.io/cluster", ("spec.jobTemplate.clusterSelector", {"cluster": "extract"})),
        (
            "deletionRules: exclude cluster",
            (f"{DELETION}.policy", "DeleteCluster"),
        ),
    ],
)
def test_rules_of_schedules_bite(complaint: str, change: Change) -> None:
    assert any(complaint in each for each in complaints(changed(ALL["raycronjob"], change)))


def test_a_queued_run_has_a_fixed_size() -> None:
    groups = ALL["kueue"]["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    sizes = {each["groupName"]: (each["minReplicas"], each["replicas"], each["maxReplicas"]) for each in groups}
    assert sizes == {"cpu": (2, 2, 2), "gpu-80gb": (4, 4, 4)}
    assert ALL["kueue"]["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"] is False
    assert "kueue.x-k8s.io/queue-name" in ALL["kueue"]["metadata"]["labels"]


def test_a_scheduled_run_selects_the_standing_cluster() -> None:
    selector = ALL["raycronjob"]["spec"]["jobTemplate"]["clusterSelector"]
    assert selector == {"ray.io/cluster": ALL["cluster"]["metadata"]["name"]}
