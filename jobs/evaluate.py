"""How good published profiles are, by labels: precision, recall and inventions of each field, and the run's rates.

    python jobs/evaluate.py --profiles OUT --labels FILE --errors 5

Exit codes: 0 scored; 1 failed; 2 the operator's mistake.
"""

import sys
from functools import partial
from typing import Annotated, Literal

from pydantic_core import to_json

from extraction.config.settings import profile_model
from extraction.evaluation.labels import load_labels
from jobs.cli import flags
from jobs.cli.command import command, enter
from jobs.cli.exit_codes import DONE
from jobs.cli.flags import flag, write_file
from jobs.cli.terminal_output import console
from jobs.reports.score_table import show_mistakes, show_score
from jobs.reports.scores import score
from jobs.state.published_run import PublishedRun

app = command("evaluate.py", __doc__)
main = partial(enter, app)


@app.default
def run(
    *,
    profiles: flags.Published,
    labels: Annotated[flags.FilePath, flag("YAML, JSON lines or Parquet")],
    label_keys: flags.LabelKeys = flags.NOTHING,
    documents: Annotated[
        str | None, flag("the run's input: which labels stand in it is looked up there", metavar="PATH")
    ] = None,
    schema: flags.ProfileModel = None,
    by: Annotated[
        Literal["document_type"] | None, flag("a row for each kind of documents, with its calibration error")
    ] = None,
    model_alone: Annotated[
        bool, flag("score what the model gives where it stands in the documents, without finders and confidence")
    ] = False,
    json_file: Annotated[flags.FilePath | None, flag("write all figures and mistakes there", name="--json")] = None,
    errors: Annotated[flags.WholeNumber, flag("print N mistakes of each field")] = 0,
) -> int:
    """Read labels and profiles, compare, print and write."""
    known = load_labels(labels, label_keys)
    published = PublishedRun.at(profiles)
    model = profile_model(schema) if schema else published.model()
    result = score(published, model, known, documents, alone=model_alone, by_kind=by is not None)
    out = console()
    show_score(out, result)
    if errors:
        show_mistakes(out, result, errors)
    if json_file:
        manifest = published.manifest
        head = {"run_id": manifest.run_id, "fingerprint": manifest.fingerprint, "versions": manifest.versions}
        figures = to_json({**head, **vars(result)}, indent=2, inf_nan_mode="null", fallback=str)
        write_file(json_file, figures.decode() + "\n", "--json")
    return DONE


if __name__ == "__main__":
    sys.exit(main())
