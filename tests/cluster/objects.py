"""What the project wants of Kubernetes' own objects, and of objects that speak of each other."""

from .checks import Manifest, broken, templates

STOPS_RETRIES = {2, 3}  # exit codes that no retry is the cure for


def cron_job_complaints(job: Manifest, cluster: Manifest) -> list[str]:
    """Check that a CronJob runs one at a time, stops at mistakes, and knows the cluster that it submits to."""
    spec = job["spec"]
    run = spec["jobTemplate"]["spec"]
    pod = run["template"]["spec"]
    (box,) = pod["containers"]
    rules = run.get("podFailurePolicy", {}).get("rules", [])
    stopped = {
        code
        for rule in rules
        if rule["action"] == "FailJob" and rule["onExitCodes"].get("containerName", box["name"]) == box["name"]
        for code in rule["onExitCodes"]["values"]
    }
    evicted = [rule for rule in rules if rule["action"] == "Ignore" and "onPodConditions" in rule]
    secrets = {each["valueFrom"]["secretKeyRef"]["name"] for each in box["env"] if _secret(each)}
    address = f"http://{cluster['metadata']['name']}-head-svc:8265"
    return broken(
        [
            (spec.get("concurrencyPolicy") != "Forbid", "concurrencyPolicy: two at a time"),
            ("startingDeadlineSeconds" not in spec, "startingDeadlineSeconds: missed runs pile up"),
            (pod.get("restartPolicy") != "Never", "restartPolicy: a podFailurePolicy needs Never"),
            (stopped != STOPS_RETRIES, "podFailurePolicy: not exit codes 2 and 3"),
            (not evicted, "podFailurePolicy: an eviction counts as a failure"),
            (address not in box["command"], f"--address: not {address}"),
            (secrets != {cluster["spec"]["authOptions"].get("secretName")}, "RAY_AUTH_TOKEN: not the cluster's"),
        ]
    )


def _secret(variable: Manifest) -> bool:
    return "secretKeyRef" in variable.get("valueFrom", {})


def policy_complaints(policy: Manifest, others: list[Manifest]) -> list[str]:
    """Check that a NetworkPolicy closes both ways, names everybody that it lets in, and holds for the pods of all
    others that have to do with Ray."""
    spec = policy["spec"]
    chosen = spec.get("podSelector", {}).get("matchLabels", {})
    peers = [peer for rule in spec.get("ingress", []) for peer in rule.get("from", [])]
    rules = [
        (set(spec.get("policyTypes", [])) != {"Ingress", "Egress"}, "policyTypes: one way is open"),
        (not chosen, "podSelector: every pod of the namespace"),
        (not all(rule.get("from") for rule in spec.get("ingress", [])), "ingress: from everywhere"),
        (not all(rule.get("to") or rule.get("ports") for rule in spec.get("egress", [])), "egress: everything"),
        (any("ipBlock" in peer for peer in peers), "ingress: addresses"),
    ]
    complaints = broken(rules)
    for document in others:
        for path, template in templates(document):
            if not chosen.items() <= template.get("metadata", {}).get("labels", {}).items():
                complaints.append(f"{document['kind']} {path}: not within the policy")
    return complaints


def volume_complaints(documents: list[Manifest]) -> list[str]:
    """Check that claims are claimed, can be read by many, and are written by their job alone."""
    claims = {each["metadata"]["name"]: each for each in documents if each["kind"] == "PersistentVolumeClaim"}
    complaints = [
        f"{name}: one node at a time"
        for name, claim in claims.items()
        if not {"ReadWriteMany", "ReadOnlyMany"} & set(claim["spec"]["accessModes"])
    ]
    for document in documents:
        for path, template in templates(document):
            pod = template["spec"]
            for volume in pod.get("volumes", []):
                claimed = volume.get("persistentVolumeClaim", {"claimName": None})
                name, reads = claimed["claimName"], claimed.get("readOnly") or document["kind"] == "Job"
                complaints += [f"{path}: no claim {name}"] if name and name not in claims else []
                complaints += [f"{path}: writes to {name}"] if name and not reads else []
    return complaints
