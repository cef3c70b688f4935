"""Submit a job to a Ray cluster, follow it, and end with its exit code, which `ray job submit` keeps to itself.

    python jobs/submit.py --address http://HEAD:8265 --name backfill-20261126 -- python jobs/extract.py ...

Who submits a name again follows the job that is under way, or starts it anew when it failed: a pod that was
evicted, or is retried, does no work twice. The cluster's token comes from RAY_AUTH_TOKEN.
"""

import asyncio
import shlex
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Annotated, TypeVar

import aiohttp
from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from extraction.errors import OperatorError, RunError, one_line
from jobs.cli.command import LOG, command, enter
from jobs.cli.exit_codes import DONE, FAILED
from jobs.cli.flags import Name, flag

JOB_POLL_S = 2.0
AWAY_S = 300.0  # a head that died is scheduled anew, its image fetched, and Ray started: some minutes
TOKEN = "wants its token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
Answer = TypeVar("Answer")


app = command("submit.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    *words: Annotated[str, flag("behind --: what to run on the head", name="COMMAND", required=True)],
    address: Annotated[str, flag("the head's dashboard", metavar="URL")],
    name: Annotated[Name, flag("what all attempts of this job are known by")],
) -> int:
    """Follow the job of this name, submitted if it is not there."""
    return follow(connect(address), name, shlex.join(words))


def connect(address: str) -> JobSubmissionClient:
    """The cluster's job API. Raises RunError where nobody answers, OperatorError where the address is none or the
    token is refused."""
    try:
        return JobSubmissionClient(address)
    except ValueError as error:
        raise OperatorError(f"--address {address}: {one_line(str(error), 200)}: give http://HOST:PORT") from None
    except (RuntimeError, OSError) as error:
        raise RunError(
            f"--address {address}: no Ray dashboard answers there ({one_line(str(error), 200)})"
        ) from None
    except AuthenticationError:
        raise OperatorError(f"--address {address} {TOKEN}") from None


def follow(client: JobSubmissionClient, name: str, command: str) -> int:
    """Find or start the job, print what it prints, and return its exit code."""
    submission = with_retries(partial(attempt, client, name, command))
    LOG.print(f"job      {submission}")
    try:
        asyncio.run(_print_logs(client, submission))
    except (RuntimeError, OSError, aiohttp.ClientError) as error:  # the connection broke; the job goes on
        LOG.print(f"job      its log is no longer to be had ({type(error).__name__})")
    while not (job := with_retries(partial(client.get_job_info, submission))).status.is_terminal():
        time.sleep(JOB_POLL_S)
    LOG.print(f"job      {submission} {job.status.value.lower()}")
    return exit_code(job)


def with_retries(ask: Callable[[], Answer]) -> Answer:
    """What the head says, asked again while it is away.

    Raises RunError where it stays away, OperatorError where it refuses the token.
    """
    until = time.monotonic() + AWAY_S
    while True:
        try:
            return ask()
        except AuthenticationError:
            raise OperatorError(f"the head {TOKEN}") from None
        except (RuntimeError, OSError) as error:
            if time.monotonic() > until:
                cause = f"the head gave no answer for {AWAY_S:g} s ({one_line(str(error), 200)})"
                raise RunError(f"{cause}: the same command follows the job again") from None
        time.sleep(JOB_POLL_S)


def attempt(client: JobSubmissionClient, name: str, command: str) -> str:
    """The id of the attempt that is under way or succeeded, or of a new one."""
    known = {job.submission_id: job.status for job in client.list_jobs()}
    number = 1
    while known.get(f"{name}-{number}") in (JobStatus.FAILED, JobStatus.STOPPED):
        number += 1
    submission = f"{name}-{number}"
    if submission not in known:
        client.submit_job(entrypoint=command, submission_id=submission)
    return submission


def exit_code(job: JobDetails) -> int:
    """The exit code of a job that ended; 1 where a signal or Ray ended it."""
    if job.status == JobStatus.SUCCEEDED:
        return DONE
    code = job.driver_exit_code
    return code if code is not None and code > 0 else FAILED


async def _print_logs(client: JobSubmissionClient, submission: str) -> None:
    async for lines in client.tail_job_logs(submission):
        print(lines, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
