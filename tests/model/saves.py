"""What is explored of saves, and what is removed from them."""

from dataclasses import replace
from typing import Any

from chalicelib.results.keyed import keyed_rows
from chalicelib.steps import save
from chalicelib.store import leases, results_table, saves
from chalicelib.store.repository import Repository
from tests.model.configuration import ONE, OUTAGE, TWO, Configuration
from tests.model.mutant import Mutant, always, without
from tests.model.protocol import CREATED_AT
from tests.model.saved import TOO_LONG
from tests.model.saving import MINUTES, Saving, to_ask, to_be_saved, to_save
from tests.model.system import Bounds

_REPEATED, _REFUSED = "A,1,2\nB,1,2\n", f"B,2,2\n{TOO_LONG},1,2\n"
"""Two chunks whose second has a key of the first, and a row that cannot be saved."""
OTHERS_CHUNKS = ("A,1,2\nO,1,2\n", "N,1,2\nE,1,2\n", "L,1,2\nL,2,2\n")
OVER_OTHERS = replace(
    to_be_saved(
        *OTHERS_CHUNKS,
        others={
            "O": ("2026-02-28T12:00:00", "offices-9"),  # older
            "N": ("2026-03-02T12:00:00", "offices-0"),  # newer
            "E": (CREATED_AT, "offices-0"),  # as old, with an id before this batch's
            "L": (CREATED_AT, "offices-9"),  # as old, with an id behind it
        },
    ),
    messages=to_save("a"),
)
_SAVED = to_be_saved(_REPEATED, _REFUSED)
_SAVED_ONCE = replace(_SAVED, messages=to_save("a"))
_OVERTAKEN_SAVE = replace(to_be_saved(ONE), messages=to_save("a"), commands=["redrive"])

SAVES = (
    Configuration(
        name="two savers, any call unheard",
        chunks=(_REPEATED, _REFUSED),
        start=_SAVED,
        bounds=Bounds(unheard=1),
        system=Saving,
    ),
    Configuration(
        name="two savers whose leases may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, schedule=MINUTES[:1]),
        system=Saving,
    ),
    Configuration(
        name="a saver that dies anywhere, whose lease may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED_ONCE, schedule=MINUTES[:1]),
        bounds=Bounds(deaths=1),
        system=Saving,
    ),
    Configuration(
        name="two savers of a table that refuses rows for a time",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, outage=OUTAGE),
        system=Saving,
    ),
    Configuration(
        name="a save that is asked for twice, any call unheard",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, messages=to_ask("a", "b")),
        bounds=Bounds(unheard=1),
        system=Saving,
    ),
    Configuration(
        name="a save over items of other batches, any call unheard",
        chunks=OTHERS_CHUNKS,
        start=OVER_OTHERS,
        bounds=Bounds(unheard=1),
        system=Saving,
    ),
    Configuration(
        name="the save of a chunk and of its redrive, any call unheard",
        chunks=(ONE,),
        start=_OVERTAKEN_SAVE,
        bounds=Bounds(unheard=1),
        system=Saving,
    ),
    Configuration(
        name="the save of a chunk and of its redrive, whose leases may end anywhere",
        chunks=(ONE,),
        start=replace(_OVERTAKEN_SAVE, schedule=MINUTES[:1]),
        system=Saving,
        quick=False,
    ),
    Configuration(
        name="the save of a chunk and of its redrive, a worker dies anywhere",
        chunks=(ONE,),
        start=_OVERTAKEN_SAVE,
        bounds=Bounds(deaths=1),
        system=Saving,
    ),
    Configuration(
        name="two savers, one dies anywhere, whose leases may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, schedule=MINUTES[:1]),
        bounds=Bounds(deaths=1),
        system=Saving,
        quick=False,
    ),
    Configuration(
        name="two savers, any call unheard, whose leases may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, schedule=MINUTES[:1]),
        bounds=Bounds(unheard=1),
        system=Saving,
        quick=False,
    ),
    Configuration(
        name="a saver that dies anywhere, whose lease and time may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED_ONCE, schedule=MINUTES),
        bounds=Bounds(deaths=1),
        system=Saving,
        quick=False,
    ),
    Configuration(
        name="two savers of a table that refuses rows for a time, one dies, whose leases may end anywhere",
        chunks=(_REPEATED, _REFUSED),
        start=replace(_SAVED, outage=OUTAGE, schedule=MINUTES[:1]),
        bounds=Bounds(deaths=1),
        system=Saving,
        quick=False,
    ),
)

_TWICE = to_be_saved(ONE, "B,2,2\nB,3,2\n")
SAVERS = Configuration(
    name="savers", chunks=(ONE, "B,2,2\nB,3,2\n"), start=replace(_TWICE, schedule=MINUTES[:1]), system=Saving
)
ASKED = Configuration(
    name="asked", chunks=(ONE, TWO), start=replace(to_be_saved(ONE, TWO), messages=to_ask("a", "b")), system=Saving
)
SAVE_UNHEARD = Configuration(
    name="save unheard", chunks=(ONE,), start=to_be_saved(ONE), bounds=Bounds(unheard=1), system=Saving
)
SAVE_OVERTAKEN = Configuration(
    name="save overtaken", chunks=(ONE,), start=replace(to_be_saved(ONE), commands=["redrive"]), system=Saving
)
_ONE_REFUSED = f"A,1,2\n{TOO_LONG},1,2\n"
REFUSED = Configuration(name="refused", chunks=(_ONE_REFUSED,), start=to_be_saved(_ONE_REFUSED), system=Saving)
OTHERS = Configuration(name="others", chunks=OTHERS_CHUNKS, start=OVER_OTHERS, system=Saving)


def _first_to_last(*args: Any, **kwargs: Any) -> Any:
    return reversed(list(keyed(*args, **kwargs)))


keyed = keyed_rows

SAVE_MUTANTS = (
    Mutant(
        name="save: the chunks that are left are those that were read",
        protects="a row from being counted as saved twice",
        module=saves,
        attribute="IS_WHERE_IT_WAS",
        instead=without(saves.IS_WHERE_IT_WAS, "chunks_left = :chunks_before", always),
        found_by=(SAVERS,),
    ),
    Mutant(
        name="save: the rows that are left are those that were read",
        protects="a row from being counted as saved twice",
        module=saves,
        attribute="IS_WHERE_IT_WAS",
        instead=without(saves.IS_WHERE_IT_WAS, "rows_left = :rows_before", always),
        found_by=(SAVERS,),
    ),
    Mutant(
        name="save: the save was not begun before",
        protects="what is counted from being set back",
        module=saves,
        attribute="IS_NEW",
        instead="",
        found_by=(ASKED,),
    ),
    Mutant(
        name="save: the export that is noted as saved was begun",
        protects="half an export from appearing when its item was deleted",
        module=saves,
        attribute="IS_BEGUN",
        instead="",
        test="tests/unit/store/test_save_store.py -k was_deleted",
    ),
    Mutant(
        name="save: a redrive ends the save of the attempt before",
        protects="an attempt from being saved with rows of the next",
        module=save._Run,
        attribute="_standing",
        instead=lambda run: Repository(table=run.saver.table).require_batch(run.save.batch_id),
        found_by=(SAVE_OVERTAKEN,),
    ),
    Mutant(
        name="save: rows are put from the last to the first",
        protects="a reader from an older row after a newer one",
        module=save,
        attribute="keyed_rows",
        instead=_first_to_last,
        found_by=(SAVE_OVERTAKEN, SAVERS),
    ),
    Mutant(
        name="save: rows that cannot be saved are kept before they are passed",
        protects="a row from being neither saved nor known as unsaved",
        module=saves.Saves,
        attribute="keep_unsaved",
        instead=lambda *_, **__: None,
        found_by=(REFUSED,),
    ),
    Mutant(
        name="results table: a key without an item takes one",
        protects="a row from being lost",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=without(results_table.MAY_BE_REPLACED, results_table.HAS_NO_ITEM),
        found_by=(SAVE_UNHEARD,),
    ),
    Mutant(
        name="results table: an item of an older batch is replaced",
        protects="a key from keeping what an older file had",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=without(results_table.MAY_BE_REPLACED, results_table.IS_OF_AN_OLDER_BATCH),
        found_by=(OTHERS,),
    ),
    Mutant(
        name="results table: of two batches as old the same wins",
        protects="a key from having now this, now that",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=without(results_table.MAY_BE_REPLACED, results_table.IS_OF_A_BATCH_CREATED_AT_ONCE),
        found_by=(OTHERS,),
    ),
    Mutant(
        name="results table: an item of an older attempt is replaced",
        protects="a redriven row from being lost",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=without(results_table.MAY_BE_REPLACED, results_table.IS_OF_AN_OLDER_ATTEMPT),
        found_by=(SAVE_OVERTAKEN,),
    ),
    Mutant(
        name="results table: a row may be put once more",
        protects="a row from being counted as superseded by itself",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=without(results_table.MAY_BE_REPLACED, results_table.IS_OF_THIS_LINE_OR_ONE_ABOVE),
        found_by=(SAVE_UNHEARD, SAVERS),
    ),
    Mutant(
        name="results table: a newer row is not replaced",
        protects="a key from an older row, or an older file",
        module=results_table,
        attribute="MAY_BE_REPLACED",
        instead=f"{results_table.MAY_BE_REPLACED} OR attribute_exists(pk)",
        found_by=(OTHERS, SAVERS),
    ),
    Mutant(
        name="lease: it is free",
        protects="the results table from having no saver",
        module=leases,
        attribute="FREE_OR_EXPIRED_OR_MINE",
        instead=without(leases.FREE_OR_EXPIRED_OR_MINE, "attribute_not_exists(pk)"),
        test="tests/unit/store/test_leases.py -k free_row",
    ),
    Mutant(
        name="lease: it has ended",
        protects="a dead worker from holding it for ever",
        module=leases,
        attribute="FREE_OR_EXPIRED_OR_MINE",
        instead=without(leases.FREE_OR_EXPIRED_OR_MINE, "#until < :now"),
        test="tests/unit/store/test_leases.py -k taken_over",
    ),
    Mutant(
        name="lease: it is mine",
        protects="a worker from losing what it has taken",
        module=leases,
        attribute="FREE_OR_EXPIRED_OR_MINE",
        instead=without(leases.FREE_OR_EXPIRED_OR_MINE, "#owner = :owner"),
        test="tests/unit/store/test_leases.py -k extended_by_its_owner",
    ),
    Mutant(
        name="lease: it is not another's",
        protects="two savers from working at once",
        module=leases,
        attribute="FREE_OR_EXPIRED_OR_MINE",
        instead=f"{leases.FREE_OR_EXPIRED_OR_MINE} OR attribute_exists(pk)",
        found_by=(SAVERS,),
    ),
    Mutant(
        name="lease: only what is mine is given up",
        protects="a successor from losing what it has taken",
        module=leases,
        attribute="MINE",
        instead=without(leases.MINE, "#owner = :owner", always),
        test="tests/unit/store/test_leases.py -k stranger_releases",
    ),
)
