"""What the cluster files may open to others: services, hosts, secrets, moving images, the job API."""

import re
from collections.abc import Iterator
from typing import Any

from .checks import Manifest, Rules, broken, templates

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


def pod_security_complaints(document: Manifest) -> list[str]:
    """Check that no pod runs as root or may become it, or gets at the Kubernetes API without need; and that a Ray
    cluster asks for a token."""
    clusters = {"RayCluster": document["spec"], "RayJob": document["spec"].get("rayClusterSpec")}
    cluster = clusters.get(document["kind"])
    complaints = broken(
        [(cluster is not None and cluster.get("authOptions", {}).get("mode") != "token", "authOptions: no token")]
    )
    for path, template in templates(document):
        complaints += [f"{path}: {complaint}" for complaint in broken(_pod_rules(path, template["spec"]))]
    return complaints


def _pod_rules(path: str, pod: Manifest) -> Rules:
    security, boxes = pod.get("securityContext", {}), pod["containers"]
    yield security.get("runAsNonRoot") is not True, "runAsNonRoot is not set"
    yield security.get("seccompProfile", {}).get("type") != "RuntimeDefault", "seccompProfile is not set"
    # The head's autoscaler talks to the Kubernetes API.
    may = pod.get("automountServiceAccountToken", True) and "headGroupSpec" not in path
    yield may, "automountServiceAccountToken is not off"
    for box in boxes:
        rights = box.get("securityContext", {})
        yield rights.get("allowPrivilegeEscalation") is not False, f"{box['name']}: may become root"
        yield rights.get("capabilities", {}).get("drop") != ["ALL"], f"{box['name']}: keeps capabilities"
        bounds = box.get("resources", {})
        yield not {"cpu", "memory"} <= bounds.get("requests", {}).keys(), f"{box['name']}: requests nothing"
        yield "memory" not in bounds.get("limits", {}), f"{box['name']}: memory without a limit"


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
    node_rules = {"aws": _aws_rules, "gcp": _gcp_rules}[provider["type"]]
    for name, node_type in config["available_node_types"].items():
        complaints += [f"{name}: {complaint}" for complaint in broken(node_rules(node_type["node_config"]))]
    if provider["type"] == "gcp" and "ssh_private_key" not in config["auth"]:
        complaints.append("auth: the launcher's own key opens every machine of the project")
    return complaints


def _aws_rules(node: Manifest) -> Rules:
    disks = [device.get("Ebs", {}) for device in node.get("BlockDeviceMappings", [])]
    yield not node.get("SecurityGroupIds"), "SecurityGroupIds: the launcher's own opens SSH to all"
    yield "IamInstanceProfile" not in node, "IamInstanceProfile: missing"
    yield node.get("MetadataOptions", {}).get("HttpTokens") != "required", "MetadataOptions: version 1"
    yield not disks or not all(disk.get("Encrypted") for disk in disks), "disk: not encrypted"


def _gcp_rules(node: Manifest) -> Rules:
    networks, accounts = node.get("networkInterfaces", []), node.get("serviceAccounts", [])
    items = {item["key"]: item["value"] for item in node.get("metadata", {}).get("items", [])}
    yield not networks, "networkInterfaces: the launcher's own have public addresses"
    yield any("accessConfigs" in network for network in networks), "accessConfigs: a public address"
    yield not accounts, "serviceAccounts: missing"
    yield items.get("block-project-ssh-keys") != "TRUE", "metadata: the project's keys open it"
