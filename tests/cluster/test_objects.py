"""Kubernetes' own objects say what the project wants of them, and checks of that bite."""

import pytest

from .manifests import ALL, RAYS, REMOVED, Change, changed
from .objects import cron_job_complaints, policy_complaints, volume_complaints

RUN = "spec.jobTemplate.spec"
BOX = f"{RUN}.template.spec.containers.0"
WITHIN = [ALL[name] for name in (*RAYS, "backfill")]
STORED = list(ALL.values())


def test_the_schedule_is_right() -> None:
    assert cron_job_complaints(ALL["backfill"], ALL["cluster"]) == []


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("two at a time", ("spec.concurrencyPolicy", "Allow")),
        ("missed runs", ("spec.startingDeadlineSeconds", REMOVED)),
        ("needs Never", (f"{RUN}.template.spec.restartPolicy", "OnFailure")),
        ("exit codes", (f"{RUN}.podFailurePolicy.rules.0.onExitCodes.values", [2])),
        ("exit codes", (f"{RUN}.podFailurePolicy.rules.0.onExitCodes.containerName", "job")),
        ("an eviction", (f"{RUN}.podFailurePolicy.rules.1", REMOVED)),
        ("--address", (f"{BOX}.command.3", "http://other-head-svc:8265")),
        ("RAY_AUTH_TOKEN", (f"{BOX}.env.2.valueFrom.secretKeyRef.name", "other")),
    ],
)
def test_checks_of_the_schedule_bite(complaint: str, change: Change) -> None:
    found = cron_job_complaints(changed(ALL["backfill"], change), ALL["cluster"])
    assert any(complaint in each for each in found)


def test_the_policy_closes_both_ways_and_holds_for_all_pods() -> None:
    assert policy_complaints(ALL["policy"], WITHIN) == []


@pytest.mark.parametrize(
    ("complaint", "change"),
    [
        ("one way is open", ("spec.policyTypes", ["Ingress"])),
        ("every pod", ("spec.podSelector", {})),
        ("from everywhere", ("spec.ingress.2.from", REMOVED)),
        ("from everywhere", ("spec.ingress.0.from", [])),
        ("egress: everything", ("spec.egress.2", {})),
        ("addresses", ("spec.ingress.0.from", [{"ipBlock": {"cidr": "10.0.0.0/8"}}])),
        ("not within", ("spec.podSelector.matchLabels", {"app": "other"})),
    ],
)
def test_checks_of_the_policy_bite(complaint: str, change: Change) -> None:
    assert any(complaint in each for each in policy_complaints(changed(ALL["policy"], change), WITHIN))


def test_a_pod_outside_the_policy_is_found() -> None:
    outside = changed(ALL["backfill"], (f"{RUN}.template.metadata.labels", {}))
    assert policy_complaints(ALL["policy"], [outside]) == [f"CronJob {RUN}.template: not within the policy"]


def test_the_weights_are_read_by_all_and_written_by_their_job() -> None:
    assert volume_complaints(STORED) == []


CLAIM = "spec.headGroupSpec.template.spec.volumes.0.persistentVolumeClaim"


@pytest.mark.parametrize(
    ("complaint", "name", "change"),
    [
        ("one node at a time", "volume", ("spec.accessModes", ["ReadWriteOnce"])),
        ("no claim models", "cluster", (f"{CLAIM}.claimName", "models")),
        ("writes to model-cache", "cluster", (f"{CLAIM}.readOnly", False)),
    ],
)
def test_checks_of_volumes_bite(complaint: str, name: str, change: Change) -> None:
    others = [each for each in STORED if each is not ALL[name]]
    assert any(complaint in each for each in volume_complaints([*others, changed(ALL[name], change)]))
