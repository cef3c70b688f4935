#!/bin/sh
# Drain this Ray node once its cloud says that the machine will be taken away: Ray hands it nothing more, requests
# under way end and are written down, and what it did not get to is asked elsewhere.
#
#     sh drain.sh aws|gcp SECONDS    SECONDS: how long after the notice the machine is gone (AWS 120, GCP 30)
#
# Pods need none of this: `ray start --block` drains when it gets a SIGTERM.
set -eu

aws() {
    token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' \
        http://169.254.169.254/latest/api/token) || return 1
    curl -sf -o /dev/null -H "X-aws-ec2-metadata-token: $token" \
        http://169.254.169.254/latest/meta-data/spot/instance-action
}

gcp() {
    said=$(curl -sf -H 'Metadata-Flavor: Google' \
        http://metadata.google.internal/computeMetadata/v1/instance/preempted) || return 1
    [ "$said" = TRUE ]
}

case $1 in
    aws | gcp) until "$1"; do sleep "${POLL_S:-5}"; done ;;
    *) echo "drain.sh: $1 is neither aws nor gcp" >&2; exit 2 ;;
esac
exec ray drain-node --reason DRAIN_NODE_REASON_PREEMPTION --reason-message 'the machine is taken away' \
    --deadline-remaining-seconds "$2"
