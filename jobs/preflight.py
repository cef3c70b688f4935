"""Look before a run: its input, output, Ray, GPUs, model and server, a tick or a cross for each, with the remedy.

    python jobs/preflight.py --input s3://... --output s3://... --engine sglang         on a cluster: RAY_ADDRESS
    python jobs/preflight.py --endpoint https://POD-8000.proxy.example/v1 --model NAME  a server alone

Takes the flags of extract.py. An endpoint is asked what it serves and, as a run would, for short answers; of
servers that a run starts itself one is started and asked with --start, on a GPU of the cluster where there is one.

Exit codes: 0 nothing is wrong; 2 something is.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated

import ray
import ray.exceptions
from rich.text import Text

from actors.servers.supervisor import Server
from extraction.config.settings import Columns, Settings
from extraction.errors import ProfilesError
from extraction.prompting.response_schema import wire_schema
from jobs.cli import flags
from jobs.cli.command import Options, PlainConsole, command, enter
from jobs.cli.exit_codes import DONE, MISTAKE
from jobs.cli.flags import flag
from jobs.stages import preflight_checks, ray_cluster
from jobs.stages.engines import Fleet, fleet
from jobs.stages.preflight_checks import Check, check_server
from jobs.stages.run import logs_of

STATE_SIGNS = {"ok": ("✔", "green"), "note": ("!", "yellow"), "wrong": ("✘", "bold red"), "skipped": ("-", "dim")}


app = command("preflight.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    *,
    input: flags.Inputs | None = None,
    output: flags.OutputFolder | None = None,
    ledger: flags.LedgerFolder = None,
    output_table: flags.OutputTables = (),
    engine: flags.EngineFlags = flags.AUTOMATIC,
    start: Annotated[bool, flag("start one server as a run would, and ask it")] = False,
    as_json: Annotated[bool, flag("print the checks as JSON", name="--json")] = False,
) -> int:
    """Print each check, or all as JSON."""
    checks = []
    folders = {"output": output, "ledger": ledger}
    for check in run_checks(input, folders, Options.of(engine), output_table, start=start):
        checks.append(check)
        if not as_json:
            show_checks(check)
    wrong = sum(check.state == "wrong" for check in checks)
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2, ensure_ascii=False))
    else:
        PlainConsole().print(f"{wrong} of {len(checks)} checks failed" if wrong else "ready", style="bold")
    return MISTAKE if wrong else DONE


def run_checks(
    inputs: list[str] | None,
    folders: Mapping[str, str | None],
    options: Options,
    tables: Sequence[str] = (),
    *,
    start: bool,
) -> Iterator[Check]:
    """All checks, one after the other; what depends on what is wrong is left out."""
    settings: Settings | None = None
    try:
        engine, settings = options.settings()
        yield Check("settings", "ok", f"engine {engine}, {settings.profile}, prompt and schema fit together")
    except ProfilesError as error:
        yield Check("settings", "wrong", str(error))
    check, nodes = preflight_checks.check_ray()
    yield check
    columns = settings.columns if settings else Columns()
    yield preflight_checks.check_input(inputs, columns) if inputs else Check("input", "skipped", "no --input")
    for name, given in folders.items():
        if given:
            yield preflight_checks.check_folder(name, given, f"--{name}", len(nodes), inputs or ())
    if settings is None:
        return
    for table in tables:
        yield preflight_checks.check_output_table(table, folders["output"], settings)
    try:
        servers = fleet(engine, settings)
    except ProfilesError as error:
        yield Check("model", "wrong", str(error))
        return
    yield preflight_checks.check_model(settings, servers, len(nodes))
    yield preflight_checks.check_limits(settings, servers)
    if misfit := settings.misfit(servers.model):
        remedy = "jobs/calibrate.py fits one on labels; until then values have a score, and none is left out for it"
        yield Check("confidence", "note", misfit, remedy)
    if engine == "sglang":
        yield from preflight_checks.check_gpus(settings, nodes)
    if engine == "endpoint":
        yield from check_servers(servers, settings)
    elif start:
        yield from check_started_server(servers, settings)
    else:
        yield Check("server", "skipped", "--start starts one and asks it")


def check_started_server(servers: Fleet, settings: Settings) -> list[Check]:
    """Start a server where a run would, ask it, and end it."""
    with ray_cluster.connected():
        try:
            asking = (
                ray.remote(check_servers).options(num_gpus=servers.gpus, max_retries=0).remote(servers, settings)
            )
            checks: list[Check] = ray.get(asking, timeout=2 * settings.servers.start_timeout_s)
        except ray.exceptions.RayError as error:
            message = str(ray_cluster.reason(error) or error)
            return [
                Check("server", "wrong", message, "the cluster has to have a node for it, and the server a GPU")
            ]
    return checks


def check_servers(servers: Fleet, settings: Settings) -> list[Check]:
    """What a server of a fleet says, started here if it is one that is started."""
    server: Server = servers.make_server(logs_of("preflight"))
    model, began = settings.profile_model(), time.monotonic()
    schema = wire_schema(model, bounded=servers.bounded, optional=settings.prompt.optional)
    try:
        address = server.start()
        ready = Check("server", "ok", f"{server.name} is ready after {time.monotonic() - began:.0f} s")
        checks = check_server(address, settings, schema, server.name)
        return checks if servers.engine == "endpoint" else [ready, *checks]
    except ProfilesError as error:
        return [Check("server", "wrong", str(error))]
    finally:
        server.stop()


def show_checks(check: Check) -> None:
    """A line, and one for the remedy."""
    out = PlainConsole(soft_wrap=True)
    sign, style = STATE_SIGNS[check.state]
    out.print(Text.assemble((f"{sign} ", style), (f"{check.name:<18}", "bold"), check.said))
    if check.remedy:
        out.print(Text(f"{'':<20}{check.remedy}", style=style))


if __name__ == "__main__":
    sys.exit(main())
