"""What the cluster files may open to others: services, hosts, secrets, moving images, the job API."""

import re
from collections.abc import Iterator
from typing import Any

from .checks import Manifest, broken

SECRET_NAME = re.compile(r"secret|password|token|access_?key|api_?key|credential", re.IGNORECASE)
SECRET_VALUE = re.compile(r"\b(AKIA|ASIA)[A-Z0-9]{16}\b|://[^/\s:@]+:[^/\s@]+@|-----BEGIN .*PRIVATE KEY")
# Named like secrets, but the value is a reference, a switch or a path.
REFERENCES = {"secretName", "HttpTokens", "~/.ray/auth_token"}
PINNED_IMAGE = re.compile(r".+(@sha256:[0-9a-f]{64}|:(?!latest$)[\w][\w.-]*)")
HOST_RIGHTS = {"hostNetwork", "hostPID", "hostIPC", "privileged", "allowPrivilegeEscalation"}
FORBIDDEN_TRUE = HOST_RIGHTS | {"enableIngress"}
PUBLIC_SERVICES = {"LoadBalancer", "NodePort"}


def walk(node: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield the path, the last key and the value of everything below a node."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        here = f"{path}.{key}" if path else str(key)
        yield here, str(key), value
        yield from walk(value, here)


def exposure_complaints(document: Manifest) -> list[str]:
    """Check what any manifest may open to others: services, the host, secrets in clear, moving images."""
    complaints: list[str] = []
    for path, key, value in walk(document):
        literal = isinstance(value, str) and value != ""
        variable = str(value.get("name", "")) if isinstance(value, dict) and value.get("value") else ""
        rules = [
            (key in FORBIDDEN_TRUE and value is True, "on"),
            (key in {"hostPort", "hostPath"}, "reaches the host"),
            (key in {"type", "serviceType"} and literal and value in PUBLIC_SERVICES, "a public service"),
            (key == "image" and not PINNED_IMAGE.fullmatch(str(value)), "not pinned"),
            (bool(SECRET_NAME.search(variable)), "a secret inline"),
            (bool(literal and SECRET_NAME.search(key) and key not in REFERENCES), "a secret inline"),
            (bool(literal and SECRET_VALUE.search(value)), "looks like a credential"),
            (literal and ("0.0.0.0" in value or "::/0" in value), "open to every address"),
        ]
        complaints += [f"{path}: {complaint}" for complaint in broken(rules)]
    return complaints


def pod_security_complaints(job: Manifest) -> list[str]:
    """Check that a RayJob asks for a token and that none of its pods runs as root."""
    spec = job["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster.get("workerGroupSpecs", [])]
    templates = [group["template"] for group in groups] + [spec.get("submitterPodTemplate", {"spec": {}})]
    rules = [(cluster.get("authOptions", {}).get("mode") != "token", "authOptions: no token")]
    for number, template in enumerate(templates):
        root = template["spec"].get("securityContext", {}).get("runAsNonRoot") is not True
        rules.append((root, f"pod {number}: runAsNonRoot is not set"))
    return broken(rules)


def ray_up_exposure_complaints(config: Manifest) -> list[str]:
    """Check that a `ray up` cluster is private, asks for a token and holds no key."""
    head = " ".join(config.get("head_start_ray_commands", []))
    worker = " ".join(config.get("worker_start_ray_commands", []))
    provider = config["provider"]
    rules = [
        (provider.get("use_internal_ips") is not True, "provider: public addresses"),
        ("aws_credentials" in provider, "provider: keys instead of an instance profile"),
        ("RAY_AUTH_MODE=token" not in head, "head_start_ray_commands: no token"),
        ("RAY_AUTH_MODE=token" not in worker, "worker_start_ray_commands: no token"),
        ("--dashboard-host=127.0.0.1" not in head, "head_start_ray_commands: job API not on loopback"),
        ("~/.ray/auth_token" not in config.get("file_mounts", {}), "file_mounts: no token"),
    ]
    complaints = broken(rules)
    for name, node_type in config["available_node_types"].items():
        node = node_type["node_config"]
        disks = [device.get("Ebs", {}) for device in node.get("BlockDeviceMappings", [])]
        rules = [
            (not node.get("SecurityGroupIds"), "SecurityGroupIds: the launcher's own opens SSH to all"),
            ("IamInstanceProfile" not in node, "IamInstanceProfile: missing"),
            (node.get("MetadataOptions", {}).get("HttpTokens") != "required", "MetadataOptions: version 1"),
            (not disks or not all(disk.get("Encrypted") for disk in disks), "disk: not encrypted"),
        ]
        complaints += [f"{name}: {complaint}" for complaint in broken(rules)]
    return complaints
