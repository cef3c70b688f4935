"""What must never stand in a cluster file does not stand there, and is found where it does."""

import pytest

from .checks import Manifest
from .exposure import exposure_complaints, pod_security_complaints
from .manifests import ALL, REMOVED, Change, changed

HEAD = "spec.headGroupSpec"
GPU = "spec.workerGroupSpecs.1"
GPU_POD = f"{GPU}.template.spec"
GPU_BOX = f"{GPU_POD}.containers.0"


@pytest.mark.parametrize("name", ALL)
def test_nothing_is_open(name: str) -> None:
    assert [*exposure_complaints(ALL[name]), *pod_security_complaints(ALL[name])] == []


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("a public service", (f"{HEAD}.serviceType", "LoadBalancer")),
        ("a public service", (f"{HEAD}.headService", {"spec": {"type": "NodePort"}})),
        ("enableIngress: on", (f"{HEAD}.enableIngress", True)),
        ("hostNetwork: on", (f"{GPU_POD}.hostNetwork", True)),
        ("hostPort: reaches", (f"{GPU_BOX}.ports", [{"containerPort": 8265, "hostPort": 8265}])),
        ("hostPath: reaches", (f"{GPU_POD}.volumes", [{"name": "model", "hostPath": {"path": "/models"}}])),
        ("privileged: on", (f"{GPU_BOX}.securityContext", {"privileged": True})),
        ("image: not pinned", (f"{GPU_BOX}.image", "YOUR-REGISTRY/company-profiles-gpu:latest")),
        ("image: not pinned", (f"{GPU_BOX}.image", "YOUR-REGISTRY:5000/company-profiles-gpu")),
        ("a secret inline", (f"{GPU_BOX}.env", [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}])),
        ("a secret inline", ("spec.authOptions.auth_token", "x")),
        ("open to every address", (f"{HEAD}.rayStartParams", {"dashboard-host": "0.0.0.0"})),
    ],
)
def test_exposure_is_found(complaint: str, change: Change) -> None:
    assert any(complaint in each for each in exposure_complaints(changed(ALL["cluster"], change)))


@pytest.mark.parametrize(
    "change",
    [
        ("spec.entrypoint", "python jobs/extract.py --input s3://me:word@store/in"),
        ("spec.runtimeEnvYAML", "env_vars: {ID: AKIAABCDEFGHIJKLMNOP}"),
    ],
)
def test_a_credential_in_a_job_is_found(change: Change) -> None:
    found = exposure_complaints(changed(ALL["rayjob"], change))
    assert any("looks like a credential" in each for each in found)


@pytest.mark.parametrize(
    "env",
    [
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "AWS_REGION", "value": "eu-west-1"},
    ],
)
def test_a_reference_is_no_secret(env: Manifest) -> None:
    assert exposure_complaints(changed(ALL["cluster"], (f"{GPU_BOX}.env", [env]))) == []


def test_an_image_by_digest_is_pinned() -> None:
    image = "YOUR-REGISTRY:5000/company-profiles-gpu@sha256:" + "0" * 64
    assert exposure_complaints(changed(ALL["cluster"], (f"{GPU_BOX}.image", image))) == []


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("no token", ("spec.authOptions", REMOVED)),
        ("no token", ("spec.authOptions.mode", "disabled")),
        ("runAsNonRoot", (f"{GPU_POD}.securityContext.runAsNonRoot", False)),
        ("seccompProfile", (f"{GPU_POD}.securityContext.seccompProfile", REMOVED)),
        ("automountServiceAccountToken", (f"{GPU_POD}.automountServiceAccountToken", REMOVED)),
        ("may become root", (f"{GPU_BOX}.securityContext.allowPrivilegeEscalation", REMOVED)),
        ("keeps capabilities", (f"{GPU_BOX}.securityContext.capabilities", REMOVED)),
        ("requests nothing", (f"{GPU_BOX}.resources.requests", REMOVED)),
        ("without a limit", (f"{GPU_BOX}.resources.limits.memory", REMOVED)),
    ],
)
def test_pod_security_bites(complaint: str, change: Change) -> None:
    found = pod_security_complaints(changed(ALL["cluster"], change))
    assert len(found) == 1
    assert complaint in found[0]
