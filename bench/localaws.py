"""A local AWS for one measurement: nothing is deployed in it, and it ends with the measurement."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tally.local import localaws
from tally.stages.stage import Resources, Stage
from tally.stages.workspace import StageFolder

TABLE = "floor"


@contextmanager
def fresh(folder: Path, name: str) -> Iterator[Stage]:
    """Run an empty local AWS for the block."""
    place = StageFolder(name=name, root=folder / name)
    place.root.mkdir(parents=True, exist_ok=True)
    server = localaws.start(place, port=None)
    try:
        yield Stage(name=name, resources=Resources(table=TABLE, inbox_bucket=""), server=server)
    finally:
        localaws.stop(place)
        place.wipe()
