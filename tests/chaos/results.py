"""The results of a batch under fire: every export that has a manifest is fetched and verified against its file."""

from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.store.exports import Exports
from tally.errors import OperatorError
from tally.exported.fetch import fetch
from tally.exported.verify import verify
from tally.output import Output
from tally.stages.services import table

if TYPE_CHECKING:
    from chalicelib.store.batch import Batch
    from tally.stages.stage import Stage


def prove(stage: "Stage", folder: Path, file: Path, batch: "Batch") -> tuple[int, list[str]]:
    """Return how many attempts have proven results, and what is wrong: the last attempt must have them.

    An attempt that a redrive ended before its export was complete has no manifest, and none is asked for.
    """
    exports = Exports(table=table(stage))
    proven, problems = 0, []
    for attempt in range(1, batch.attempt + 1):
        name = f"results of attempt {attempt}"
        export = exports.find(batch.id, attempt)
        if export is None or not export.exported_at:
            if attempt == batch.attempt:
                problems.append(f"{name}: they are not written")
            continue
        place = folder / batch.id / f"attempt-{attempt}"
        try:
            fetch(Output.make(as_json=True), stage.s3, stage.resources.inbox_bucket, export, place)
            verified = verify(place, file)
        except OperatorError as error:
            problems.append(f"{name}: {error}")
            continue
        problems += [f"{name}: {problem}" for problem in verified.problems]
        counts = verified.manifest.counts
        if attempt == batch.attempt and (counts.succeeded, counts.failed, counts.rejected) != (
            batch.counts.succeeded,
            batch.counts.failed,
            batch.counts.rejected,
        ):
            problems.append(f"{name}: they have {counts}, the batch counts {batch.counts}")
        proven += verified.whole
    return proven, problems
