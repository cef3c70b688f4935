"""The Kubernetes manifests are valid, and a misspelt field is found."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from .checks import Manifest, entrypoint_files, placeholders, templates
from .kustomize import resolve
from .manifests import ALL, CLUSTER, CRD_FOLDER, KUBERAY, RAYS, REMOVED, ROOT, changed, renamed
from .schemas import crd_complaints, crd_schema, kubernetes_complaints, pod_complaints

needs_crds = pytest.mark.skipif(not CRD_FOLDER.is_dir(), reason="no definitions beside the checkout")
needs_kubectl = pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl")


def schema_complaints(document: Manifest) -> list[str]:
    """What Kubernetes' schemas and KubeRay's definitions, where they are at hand, say of a manifest."""
    if document["apiVersion"] != "ray.io/v1":
        return kubernetes_complaints(document)
    found = [complaint for _, template in templates(document) for complaint in pod_complaints(template)]
    if CRD_FOLDER.is_dir():
        found += crd_complaints(document, crd_schema(CRD_FOLDER, document["kind"]))
    return found


@pytest.mark.parametrize("name", ALL)
def test_it_fits_its_schemas(name: str) -> None:
    assert schema_complaints(ALL[name]) == []


GPU, POD = "spec.workerGroupSpecs.1", "spec.workerGroupSpecs.1.template.spec"
CRON_POD = "spec.jobTemplate.spec.template.spec"
MISSPELT = [
    ("cluster", "spec.enableInTreeAutoscaling"),
    ("cluster", "spec.authOptions.secretName"),
    ("cluster", "spec.autoscalerOptions.idleTimeoutSeconds"),
    ("cluster", "spec.headGroupSpec.serviceType"),
    ("cluster", f"{GPU}.idleTimeoutSeconds"),
    ("cluster", "spec.workerGroupSpecs.5.priority"),
    ("cluster", f"{POD}.terminationGracePeriodSeconds"),
    ("cluster", f"{POD}.tolerations.0.operator"),
    ("cluster", f"{POD}.containers.0.envFrom.0.secretRef"),
    ("cluster", f"{POD}.containers.0.resources.limits"),
    ("cluster", f"{POD}.containers.0.readinessProbe.failureThreshold"),
    ("cluster", f"{POD}.volumes.1.emptyDir.sizeLimit"),
    ("rayjob", "spec.backoffLimit"),
    ("rayjob", "spec.preRunningDeadlineSeconds"),
    ("rayjob", "spec.rayClusterSpec.rayVersion"),
    ("rayjob", "spec.submitterPodTemplate.spec.restartPolicy"),
    ("kueue", "spec.suspend"),
    ("kueue", "spec.rayClusterSpec.workerGroupSpecs.1.minReplicas"),
    ("raycronjob", "spec.timeZone"),
    ("raycronjob", "spec.jobTemplate.clusterSelector"),
    ("raycronjob", "spec.jobTemplate.deletionStrategy.deletionRules.0.condition.ttlSeconds"),
    ("backfill", "spec.concurrencyPolicy"),
    ("backfill", "spec.jobTemplate.spec.podFailurePolicy"),
    ("backfill", "spec.jobTemplate.spec.podFailurePolicy.rules.0.onExitCodes"),
    ("backfill", f"{CRON_POD}.containers.0.env.2.valueFrom.secretKeyRef"),
    ("policy", "spec.policyTypes"),
    ("policy", "spec.ingress.1.from"),
    ("volume", "spec.storageClassName"),
    ("download", "spec.template.spec.volumes.0.persistentVolumeClaim"),
]


@pytest.mark.parametrize(
    ("name", "path"), [pytest.param(*each, marks=needs_crds if each[0] in RAYS else ()) for each in MISSPELT]
)
def test_a_misspelt_field_is_found(name: str, path: str) -> None:
    assert schema_complaints(renamed(ALL[name], path))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cluster", (f"{POD}.terminationGracePeriodSeconds", "120")),
        ("cluster", (f"{POD}.containers.0.name", REMOVED)),
        ("backfill", ("spec.concurrencyPolicy", ["Forbid"])),
        ("policy", ("spec.ingress.1.ports.0.protocol", 6)),
        ("volume", ("spec.accessModes", "ReadWriteMany")),
    ],
)
def test_a_wrong_value_is_found(name: str, change: tuple[str, object]) -> None:
    assert schema_complaints(changed(ALL[name], change))


@needs_crds
@pytest.mark.parametrize(
    "change",
    [
        ("spec.authOptions.mode", "tokens"),
        (f"{GPU}.labels", {"extract/vram-gb": 24}),
        (f"{GPU}.maxReplicas", "8"),
        ("spec.autoscalerOptions.version", "v3"),
    ],
    ids=lambda change: change[0],
)
def test_definition_refuses_a_wrong_value(change: tuple[str, object]) -> None:
    assert crd_complaints(changed(ALL["cluster"], change), crd_schema(CRD_FOLDER, "RayCluster"))


@needs_kubectl
@pytest.mark.parametrize("folder", ["base", "rayjob", "kueue"])
def test_kustomizations_are_resolved_as_kubectl_does(folder: str) -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(KUBERAY / folder)], capture_output=True, text=True, check=True
    )
    assert _sorted(list(yaml.safe_load_all(done.stdout))) == _sorted(resolve(KUBERAY / folder))


def _sorted(documents: list[Manifest]) -> list[Manifest]:
    return sorted(documents, key=lambda each: (each["kind"], each["metadata"]["name"]))


def test_the_runs_machines_are_the_cluster_s() -> None:
    assert ALL["rayjob"]["spec"]["rayClusterSpec"] == ALL["cluster"]["spec"]


def test_every_file_is_looked_at() -> None:
    files = {path.relative_to(KUBERAY).as_posix() for path in KUBERAY.rglob("*.yaml")}
    base = {f"base/{name}.yaml" for name in ("raycluster", "network-policy", "model-cache", "kustomization")}
    others = {"rayjob/rayjob.yaml", "scheduled/backfill.yaml", "scheduled/raycronjob.yaml"}
    assert files == base | others | {"rayjob/kustomization.yaml", "kueue/kustomization.yaml"}


def test_entrypoints_name_files_of_the_checkout() -> None:
    files = entrypoint_files(ALL["rayjob"]["spec"]["entrypoint"])
    (box,) = ALL["backfill"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert files == ["jobs/rayjob.py", "jobs/extract.py", "configs/extract.yaml"]
    files += entrypoint_files(" ".join(box["command"]))
    assert "jobs/submit.py" in files
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    "file", sorted(CLUSTER.rglob("*.yaml")), ids=lambda file: file.relative_to(CLUSTER).as_posix()
)
def test_readme_names_every_placeholder(file: Path) -> None:
    wanted = placeholders(file.read_text(encoding="utf-8"))
    assert wanted <= placeholders((CLUSTER / "README.md").read_text(encoding="utf-8"))
