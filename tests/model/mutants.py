"""The kill table: each clause of each condition, and each rule, removed in turn; something must notice."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from chalicelib.results import chunk as results
from chalicelib.steps import export, ingest, pieces, process, recount, redrive, settle
from chalicelib.store import attempts, exports, ledger
from chalicelib.store.bits import RowBits
from chalicelib.store.chunk import Chunk
from chalicelib.store.ledger import Seen
from tests.model.chains import CHAIN_MUTANTS
from tests.model.configuration import ONE, OUTAGE, TWO, Configuration
from tests.model.configurations import INVALID
from tests.model.exporting import Exporting, ended
from tests.model.mutant import Mutant
from tests.model.protocol import planned, ready, to_ingest, to_process
from tests.model.saves import SAVE_MUTANTS
from tests.model.system import Bounds, Start

ALWAYS = "(attribute_exists(pk) OR #version = :version)"
"""What stands in for a clause that is removed: true of every item that is there, and names the same values, for a value
that is given and not used is refused."""
_READY = Start(items=ready(ONE), messages=[to_process(0)])
_REDRIVEN = replace(_READY, commands=["redrive"], outage=OUTAGE)
_TWO = Start(items=ready(ONE, TWO), messages=[to_process(0), to_process(1)], commands=["redrive"], outage=OUTAGE)
READING = Configuration(
    name="reading", chunks=(ONE,), start=Start(items=planned(ONE), messages=[to_ingest(0)]), bounds=Bounds(copies=2)
)
COPIES = Configuration(name="copies", chunks=(ONE,), start=_REDRIVEN, bounds=Bounds(copies=2))
UNHEARD = Configuration(name="unheard", chunks=(ONE,), start=_REDRIVEN, bounds=Bounds(unheard=1, copies=1))
REDRIVES = Configuration(
    name="redrives", chunks=(ONE,), start=replace(_REDRIVEN, commands=["redrive", "redrive"]), bounds=Bounds(copies=1)
)
REPAIR = Configuration(name="repair", chunks=(ONE,), start=replace(_REDRIVEN, schedule=["thorough repair"]))
LETTERS = Configuration(
    name="letters",
    chunks=(ONE,),
    start=Start(items=planned(ONE), messages=[to_ingest(0)], commands=["redrive"], outage=OUTAGE),
    bounds=Bounds(copies=1, dead_letters=1),
)
REREADING = Configuration(
    name="rereading",
    chunks=(INVALID,),
    start=Start(items=ready(INVALID), messages=[to_process(0)], commands=["redrive rejected"]),
    bounds=Bounds(copies=1),
)
TWO_CHUNKS = Configuration(name="two chunks", chunks=(ONE, TWO), start=_TWO, bounds=Bounds(copies=1))
RESULTS = Configuration(
    name="results", chunks=(ONE, TWO), start=ended(ONE, TWO), bounds=Bounds(copies=1), system=Exporting
)
OVERTAKEN = Configuration(
    name="overtaken", chunks=(ONE,), start=replace(ended(ONE), commands=["redrive"]), system=Exporting
)


def _without_generations(finished: Any, seen: Seen) -> Any:
    return ledger_fresh(finished, replace(seen, generation=0))


def _without_corrections(seen: Seen, finished: ledger.Finished) -> bool:
    return seen_is_past(replace(seen, corrected=type(seen.corrected)()), finished)


def _without_bits(finished: Any, seen: Seen) -> Any:
    return ledger_fresh(finished, replace(seen, done=type(seen.done)()))


def _unraised(name: str, build: Callable[..., Any]) -> Callable[..., Any]:
    """Return a builder of an update whose ``name`` stays as it was read."""

    def built(*args: Any, **kwargs: Any) -> Any:
        update = build(*args, **kwargs)
        before: Mapping[str, Any] = update.values
        raised = {"next": "version", "generation": "generation"}[name]
        was = before[":version"] if raised == "version" else {"N": str(int(before[":generation"]["N"]) - 1)}
        return replace(update, values={**before, f":{name}": was})

    return built


def _backwards(found: Any, wanted: Any = None) -> Any:
    return reversed(list(outcomes(found, wanted)))


def _stands_unless_incomplete(exporter: Any, begun: Any) -> Any:
    if isinstance(sys.exception(), results.IncompleteError):
        return standing(exporter, begun)
    return exporter._repository.require_batch(begun.batch_id)


give_up = ingest.Ingester.give_up
outcomes = results.ChunkResults.outcomes
standing = export.Exporter._standing
ledger_fresh = ledger.fresh
seen_is_past = Seen.is_past
pieces_wanted = pieces.wanted_rows

MUTANTS = (
    Mutant(
        name="count: the chunk has the version that was read",
        protects="a row from being counted twice",
        module=ledger,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(COPIES, UNHEARD),
    ),
    Mutant(
        name="count: the marker does not exist",
        protects="a marker from being lost when a chunk item was set back by hand",
        module=ledger,
        attribute="NO_SUCH_MARKER",
        instead="",
        test="tests/unit/store/ledger/test_ledger_generations.py -k never_overwritten",
    ),
    Mutant(
        name="count: rows whose bit is set are dropped",
        protects="a row from being counted twice",
        module=ledger,
        attribute="fresh",
        instead=_without_bits,
        found_by=(COPIES, UNHEARD),
    ),
    Mutant(
        name="count: failures of an older generation are dropped",
        protects="a redriven row from failing of its past",
        module=ledger,
        attribute="fresh",
        instead=_without_generations,
        found_by=(COPIES, TWO_CHUNKS),
    ),
    Mutant(
        name="count: outcomes of a row from before it was corrected are dropped",
        protects="a corrected row from the result of the uploaded one",
        module=Seen,
        attribute="is_past",
        instead=_without_corrections,
        test="tests/unit/steps/corrections/test_corrections_late.py -k came_of_the_uploaded_row",
    ),
    Mutant(
        name="count: raises the version",
        protects="every other guard",
        module=ledger,
        attribute="move_chunk",
        instead=_unraised("next", ledger.move_chunk),
        found_by=(COPIES, UNHEARD),
    ),
    Mutant(
        name="process: messages that a redrive has overtaken are dropped",
        protects="rows from being run for nothing",
        module=process,
        attribute="wanted_rows",
        instead=lambda message, chunk: pieces_wanted(message, replace(chunk, generation=0)),
        test="tests/unit/steps/process/test_process_messages.py -k older_generation",
    ),
    Mutant(
        name="process: rows that are to be read again are left out",
        protects="a row that is not stored yet from failing as gone",
        module=Chunk,
        attribute="undone",
        instead=property(lambda chunk: RowBits.first(chunk.rows or 0) - chunk.done),
        test="tests/unit/steps/rejected/test_redrive_rejected.py -k not_run_before",
    ),
    Mutant(
        name="ingest: the chunk has the version that was read",
        protects="totals from being set twice",
        module=ingest,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(READING, REREADING),
    ),
    Mutant(
        name="ingest: the marker does not exist",
        protects="a marker from being lost when a chunk item was set back by hand",
        module=ingest,
        attribute="NO_SUCH_MARKER",
        instead="",
        test="tests/unit/steps/test_ingest_given_up.py -k never_overwritten",
    ),
    Mutant(
        name="ingest: pages with corrected rows are in the transaction",
        protects="a corrected row from what another reading writes late",
        module=ingest,
        attribute="_is_guarded",
        instead=lambda chunk: bool(chunk.rereads),
        test="tests/unit/steps/corrections/test_corrections_late.py -k slept_through_another_correction",
    ),
    Mutant(
        name="ingest: pages with corrected rows are behind those of the upload",
        protects="a corrected row from a first reading that slept",
        module=ingest,
        attribute="_first_page",
        instead=lambda chunk: chunk.pages,
        test="tests/unit/steps/corrections/test_corrections_late.py -k first_reading_that_slept",
    ),
    Mutant(
        name="close: the chunk has the version of the image",
        protects="a chunk from closing with rows left, or twice",
        module=settle,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(COPIES, UNHEARD, TWO_CHUNKS),
    ),
    Mutant(
        name="end: the batch has the version of the image",
        protects="a batch from ending early, or twice in an attempt",
        module=settle,
        attribute="BATCH_AS_READ",
        instead=ALWAYS,
        found_by=(COPIES, REDRIVES, TWO_CHUNKS),
    ),
    Mutant(
        name="announced: the batch is in the attempt that was announced",
        protects="the next attempt from being taken for announced",
        module=settle,
        attribute="IS_IN_ATTEMPT",
        instead="(attribute_exists(pk) OR attempt = :attempt)",
        found_by=(REPAIR,),
    ),
    Mutant(
        name="redrive: the chunk has the version that was read",
        protects="a row from being taken back twice",
        module=redrive,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(REDRIVES, COPIES, UNHEARD),
    ),
    Mutant(
        name="dead letters: one that a redrive has overtaken is dropped",
        protects="a chunk that is to be read again from failing of its past",
        module=ingest.Ingester,
        attribute="give_up",
        instead=lambda ingester, message, code, reason: give_up(
            ingester, msgspec.structs.replace(message, generation=sys.maxsize), code, reason
        ),
        found_by=(LETTERS,),
    ),
    Mutant(
        name="redrive: raises the generation",
        protects="a redriven row from failing of its past",
        module=redrive,
        attribute="_reopen_chunk",
        instead=_unraised("generation", redrive._reopen_chunk),
        found_by=(COPIES, TWO_CHUNKS),
    ),
    Mutant(
        name="redrive and repair: the batch has the version that was read",
        protects="the batch's attempts and counters",
        module=attempts,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(REDRIVES, COPIES, TWO_CHUNKS, REPAIR),
    ),
    Mutant(
        name="repair: the chunk has the version that was read before its markers",
        protects="counters from being set to what is no longer true",
        module=recount,
        attribute="AS_READ",
        instead=ALWAYS,
        found_by=(REPAIR,),
    ),
    Mutant(
        name="results: the attempt is read again after the chunks",
        protects="a file from having rows of two attempts",
        module=export.Exporter,
        attribute="_standing",
        instead=_stands_unless_incomplete,
        found_by=(OVERTAKEN,),
    ),
    Mutant(
        name="results: the piece is not marked",
        protects="a piece from being counted twice, and the manifest from being written without another",
        module=exports,
        attribute="IS_NEW",
        instead="",
        found_by=(RESULTS,),
    ),
    Mutant(
        name="results: the export was begun",
        protects="half an export from appearing when its item was deleted",
        module=exports,
        attribute="IS_BEGUN",
        instead="",
        test="tests/unit/steps/test_export.py -k was_deleted",
    ),
    Mutant(
        name="results: the manifest waits for every piece",
        protects="a manifest from being there without its files",
        module=exports.Export,
        attribute="complete",
        instead=property(lambda begun: begun.written > 0),
        found_by=(RESULTS,),
    ),
    Mutant(
        name="results: the rows of a chunk are in the order of the file",
        protects="rows from being anywhere",
        module=results.ChunkResults,
        attribute="outcomes",
        instead=_backwards,
        found_by=(RESULTS,),
    ),
    *SAVE_MUTANTS,
    *CHAIN_MUTANTS,
)
