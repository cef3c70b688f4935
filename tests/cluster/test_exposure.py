"""What must never stand in a cluster file is found there."""

from typing import Any

import pytest

from .checks import Manifest, load
from .exposure import exposure_complaints, pod_security_complaints, ray_up_exposure_complaints
from .test_manifests import CLUSTER, GPU_BOX, GPU_NODE, GPU_POD, HEAD, JOB_FILE, RAY_UP_FILE, REMOVED, changed

Change = tuple[str, Any]
NODE = f"{GPU_NODE}.node_config"


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
        ("image: not pinned", (f"{GPU_BOX}.image", "YOUR-REGISTRY/extract:latest")),
        ("image: not pinned", (f"{GPU_BOX}.image", "YOUR-REGISTRY:5000/extract")),
        ("a secret inline", (f"{GPU_BOX}.env", [{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}])),
        ("a secret inline", (f"{CLUSTER}.authOptions.auth_token", "x")),
        (
            "looks like a credential",
            ("spec.entrypoint", "python jobs/extract.py --input s3://me:word@store/in"),
        ),
        ("looks like a credential", ("spec.runtimeEnvYAML", "env_vars: {ID: AKIAABCDEFGHIJKLMNOP}")),
        ("open to every address", (f"{HEAD}.rayStartParams", {"dashboard-host": "0.0.0.0"})),
    ],
)
def test_exposure_is_found(complaint: str, change: Change) -> None:
    assert any(complaint in each for each in exposure_complaints(changed(load(JOB_FILE), change)))


@pytest.mark.parametrize(
    "env",
    [
        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
        {"name": "AWS_REGION", "value": "eu-west-1"},
    ],
)
def test_a_reference_is_no_secret(env: Manifest) -> None:
    assert exposure_complaints(changed(load(JOB_FILE), (f"{GPU_BOX}.env", [env]))) == []


def test_an_image_by_digest_is_pinned() -> None:
    image = "YOUR-REGISTRY:5000/extract@sha256:" + "0" * 64
    assert exposure_complaints(changed(load(JOB_FILE), (f"{GPU_BOX}.image", image))) == []


@pytest.mark.parametrize(
    "change",
    [
        (f"{CLUSTER}.authOptions", REMOVED),
        (f"{CLUSTER}.authOptions.mode", "disabled"),
        (f"{GPU_POD}.securityContext", REMOVED),
        (f"{GPU_POD}.securityContext.runAsNonRoot", False),
        ("spec.submitterPodTemplate", REMOVED),
    ],
    ids=lambda change: change[0].removeprefix("spec."),
)
def test_pod_security_bites(change: Change) -> None:
    assert len(pod_security_complaints(changed(load(JOB_FILE), change))) == 1


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("public addresses", ("provider.use_internal_ips", False)),
        ("keys instead", ("provider.aws_credentials", {})),
        ("head_start_ray_commands: no token", ("head_start_ray_commands", ["ray start --head"])),
        ("worker_start_ray_commands: no token", ("worker_start_ray_commands", ["ray start"])),
        ("not on loopback", ("head_start_ray_commands", ["RAY_AUTH_MODE=token ray start --head"])),
        ("file_mounts: no token", ("file_mounts", {})),
        ("SecurityGroupIds", (f"{NODE}.SecurityGroupIds", REMOVED)),
        ("IamInstanceProfile", (f"{NODE}.IamInstanceProfile", REMOVED)),
        ("MetadataOptions", (f"{NODE}.MetadataOptions", REMOVED)),
        ("not encrypted", (f"{NODE}.BlockDeviceMappings", [{"Ebs": {"VolumeSize": 200}}])),
    ],
)
def test_open_machines_are_found(complaint: str, change: Change) -> None:
    assert any(complaint in each for each in ray_up_exposure_complaints(changed(load(RAY_UP_FILE), change)))


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "::/0"])
def test_an_open_security_group_is_found(cidr: str) -> None:
    group = {"GroupName": "extract", "IpPermissions": [{"IpRanges": [{"CidrIp": cidr}]}]}
    assert len(exposure_complaints(changed(load(RAY_UP_FILE), ("provider.security_group", group)))) == 1
