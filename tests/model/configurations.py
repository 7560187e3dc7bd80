"""What is explored: small files from small starts, with as much going wrong as a bound allows."""

from dataclasses import replace

from tests.model.chains import CHAINS
from tests.model.configuration import ONE, OUTAGE, TWO, Configuration
from tests.model.exporting import Exporting, ended
from tests.model.protocol import planned, ready, to_ingest, to_process
from tests.model.saves import SAVES
from tests.model.system import Bounds, Start

INVALID = "A,1,2\nB,x,2\n"
"""A chunk of a row that is processed and one that is rejected."""
_PLANNED = Start(items=planned(ONE), messages=[to_ingest(0)])
_READY = Start(items=ready(ONE), messages=[to_process(0)])
_REDRIVEN = replace(_READY, commands=["redrive"], outage=OUTAGE)
_REREAD = Start(items=ready(INVALID), messages=[to_process(0)], commands=["redrive rejected"])
_TWO_CHUNKS = Start(items=ready(ONE, TWO), messages=[to_process(0), to_process(1)], commands=["redrive"], outage=OUTAGE)
_RESULTS = ended(ONE, TWO)
_OVERTAKEN = replace(ended(ONE), commands=["redrive"])

CONFIGURATIONS = (
    Configuration(
        name="a chunk from planned to closed, any call unheard, two deliveries more",
        chunks=(ONE,),
        start=_PLANNED,
        bounds=Bounds(unheard=1, copies=2),
    ),
    Configuration(
        name="the same, and a worker dies anywhere", chunks=(ONE,), start=_PLANNED, bounds=Bounds(copies=1, deaths=1)
    ),
    Configuration(
        name="a redrive, any call unheard, a delivery more",
        chunks=(ONE,),
        start=_REDRIVEN,
        bounds=Bounds(unheard=1, copies=1),
    ),
    Configuration(
        name="a redrive, three overlapping deliveries", chunks=(ONE,), start=_REDRIVEN, bounds=Bounds(copies=2)
    ),
    Configuration(
        name="two redrives side by side", chunks=(ONE,), start=replace(_REDRIVEN, commands=["redrive", "redrive"])
    ),
    Configuration(
        name="a redrive and a repair of everything that may sleep anywhere",
        chunks=(ONE,),
        start=replace(_REDRIVEN, schedule=["thorough repair"]),
        quick=False,
    ),
    Configuration(
        name="two chunks, a redrive, a delivery more", chunks=(ONE, TWO), start=_TWO_CHUNKS, bounds=Bounds(copies=1)
    ),
    Configuration(
        name="two chunks, a redrive, any call unheard", chunks=(ONE, TWO), start=_TWO_CHUNKS, bounds=Bounds(unheard=1)
    ),
    Configuration(
        name="two chunks, a redrive, a worker dies anywhere",
        chunks=(ONE, TWO),
        start=_TWO_CHUNKS,
        bounds=Bounds(deaths=1),
    ),
    Configuration(
        name="two chunks, a redrive, a message becomes a dead letter",
        chunks=(ONE, TWO),
        start=_TWO_CHUNKS,
        bounds=Bounds(dead_letters=1),
    ),
    Configuration(
        name="a redrive of a chunk that may be a dead letter before it is read, a delivery more",
        chunks=(ONE,),
        start=replace(_PLANNED, commands=["redrive"], outage=OUTAGE),
        bounds=Bounds(copies=1, dead_letters=1),
    ),
    Configuration(
        name="a rejected row is read again and taken, any call unheard, a delivery more",
        chunks=(INVALID,),
        start=_REREAD,
        bounds=Bounds(unheard=1, copies=1),
        corrected=True,
    ),
    Configuration(
        name="a rejected row is read again and rejected again, two deliveries more",
        chunks=(INVALID,),
        start=_REREAD,
        bounds=Bounds(copies=2),
    ),
    Configuration(
        name="a rejected row is read again while the other is redriven, a delivery more",
        chunks=(INVALID,),
        start=replace(_REREAD, commands=["redrive rejected", "redrive"], outage=OUTAGE),
        bounds=Bounds(copies=1),
        corrected=True,
    ),
    Configuration(
        name="two redrives of a rejected row, a message becomes a dead letter, a worker dies anywhere",
        chunks=(INVALID,),
        start=replace(_REREAD, commands=["redrive rejected", "redrive rejected"]),
        bounds=Bounds(dead_letters=1, deaths=1),
        corrected=True,
    ),
    Configuration(
        name="two chunks, a redrive, three overlapping deliveries",
        chunks=(ONE, TWO),
        start=_TWO_CHUNKS,
        bounds=Bounds(copies=2),
        quick=False,
    ),
    Configuration(
        name="two chunks, a redrive, and a repair and the closes that may sleep anywhere",
        chunks=(ONE, TWO),
        start=replace(_TWO_CHUNKS, schedule=["repair"]),
        quick=False,
    ),
    Configuration(
        name="the results of two chunks, any call unheard, a delivery more",
        chunks=(ONE, TWO),
        start=_RESULTS,
        bounds=Bounds(unheard=1, copies=1),
        system=Exporting,
    ),
    Configuration(
        name="the results of two chunks, a worker dies anywhere, a delivery more",
        chunks=(ONE, TWO),
        start=_RESULTS,
        bounds=Bounds(deaths=1, copies=1),
        system=Exporting,
    ),
    Configuration(
        name="the results of a chunk and of its redrive, any call unheard",
        chunks=(ONE,),
        start=_OVERTAKEN,
        bounds=Bounds(unheard=1),
        system=Exporting,
    ),
    Configuration(
        name="the results of a chunk and of its redrive, a worker dies anywhere",
        chunks=(ONE,),
        start=_OVERTAKEN,
        bounds=Bounds(deaths=1),
        system=Exporting,
    ),
    Configuration(
        name="the results of a chunk and of its redrive, two overlapping deliveries",
        chunks=(ONE,),
        start=_OVERTAKEN,
        bounds=Bounds(copies=1),
        system=Exporting,
        quick=False,
    ),
    *SAVES,
    *CHAINS,
)
