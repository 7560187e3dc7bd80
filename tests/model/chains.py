"""What is explored of chains, and what is removed from them."""

from dataclasses import replace
from functools import partial

from chalicelib.steps import chain
from chalicelib.store import chains
from tests.model.chaining import ASK, Chaining, to_be_chained, to_chain
from tests.model.configuration import ONE, OUTAGE, TWO, Configuration
from tests.model.mutant import Mutant, always, without
from tests.model.system import Bounds

_CHAINED = to_be_chained(ONE, TWO)
_OVERTAKEN_CHAIN = replace(to_be_chained(ONE), commands=["redrive"])
_NO_JOB = replace(to_be_chained(ONE), outage=OUTAGE, commands=[ASK])

CHAINS = (
    Configuration(
        name="the chain of two chunks, any call unheard, a delivery more",
        chunks=(ONE, TWO),
        start=_CHAINED,
        bounds=Bounds(unheard=1, copies=1),
        system=Chaining,
    ),
    Configuration(
        name="the chain of two chunks, a worker dies anywhere, a delivery more",
        chunks=(ONE, TWO),
        start=_CHAINED,
        bounds=Bounds(deaths=1, copies=1),
        system=Chaining,
    ),
    Configuration(
        name="the chain of two chunks, three overlapping deliveries",
        chunks=(ONE, TWO),
        start=_CHAINED,
        bounds=Bounds(copies=2),
        system=Chaining,
        quick=False,
    ),
    Configuration(
        name="the chain of a chunk and of its redrive, any call unheard",
        chunks=(ONE,),
        start=_OVERTAKEN_CHAIN,
        bounds=Bounds(unheard=1),
        system=Chaining,
        quick=False,
    ),
    Configuration(
        name="the chain of a chunk and of its redrive, a worker dies anywhere",
        chunks=(ONE,),
        start=_OVERTAKEN_CHAIN,
        bounds=Bounds(deaths=1),
        system=Chaining,
        quick=False,
    ),
    Configuration(
        name="the chain of a chunk and of its redrive, a message of the first more",
        chunks=(ONE,),
        start=replace(_OVERTAKEN_CHAIN, messages=[to_chain()] * 2),
        system=Chaining,
        quick=False,
    ),
    Configuration(
        name="the chain of a redrive alone, for a batch with failures has none",
        chunks=(ONE,),
        start=_OVERTAKEN_CHAIN,
        system=partial(Chaining, with_failures=False),
    ),
    Configuration(
        name="a next job that is deployed later, any call unheard",
        chunks=(ONE,),
        start=_NO_JOB,
        bounds=Bounds(unheard=1),
        system=Chaining,
    ),
    Configuration(
        name="a next job that is deployed later, a worker dies anywhere",
        chunks=(ONE,),
        start=_NO_JOB,
        bounds=Bounds(deaths=1),
        system=Chaining,
        quick=False,
    ),
    Configuration(
        name="a next job that is deployed later, and a redrive",
        chunks=(ONE,),
        start=replace(_NO_JOB, commands=[ASK, "redrive"]),
        system=Chaining,
        quick=False,
    ),
)

CHAIN = Configuration(
    name="chain", chunks=(ONE, TWO), start=to_be_chained(ONE, TWO), bounds=Bounds(copies=1), system=Chaining
)
_CHAIN_OVERTAKEN = replace(to_be_chained(ONE), commands=["redrive"])
CHAIN_OVERTAKEN = Configuration(name="chain overtaken", chunks=(ONE,), start=_CHAIN_OVERTAKEN, system=Chaining)
NO_JOB = Configuration(
    name="no job",
    chunks=(ONE,),
    start=replace(to_be_chained(ONE), outage=OUTAGE, commands=[ASK]),
    system=Chaining,
)

CHAIN_MUTANTS = (
    Mutant(
        name="chain: there is no decision yet",
        protects="an attempt from having no child",
        module=chains,
        attribute="IS_NEW_OR_MAY_CHANGE",
        instead=without(chains.IS_NEW_OR_MAY_CHANGE, "attribute_not_exists(pk)"),
        found_by=(CHAIN,),
    ),
    Mutant(
        name="chain: a decision stands",
        protects="an attempt from having two children",
        module=chains,
        attribute="IS_NEW_OR_MAY_CHANGE",
        instead=f"{chains.IS_NEW_OR_MAY_CHANGE} OR attribute_exists(pk)",
        found_by=(CHAIN,),
    ),
    Mutant(
        name="chain: a deployment may change a decision",
        protects="results from waiting for ever for a job that is there",
        module=chains,
        attribute="IS_NEW_OR_MAY_CHANGE",
        instead=without(chains.IS_NEW_OR_MAY_CHANGE, chains.DEPLOYMENT_MAY_CHANGE_IT),
        found_by=(NO_JOB,),
    ),
    Mutant(
        name="chain: an end is noted with its own decision",
        protects="a child from being taken for missing",
        module=chains,
        attribute="IS_OF_THIS_DECISION",
        instead=without(chains.IS_OF_THIS_DECISION, "upload_id = :upload_id", always),
        found_by=(NO_JOB,),
    ),
    Mutant(
        name="chain: the batch exists",
        protects="half a batch from appearing when its item was deleted",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, "attribute_exists(pk)", always),
        test="tests/unit/store/test_chain_store.py -k was_deleted",
    ),
    Mutant(
        name="chain: the batch says nothing of a chain yet",
        protects="a child from being unknown to its parent",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, "attribute_not_exists(chained_attempt)"),
        found_by=(CHAIN,),
    ),
    Mutant(
        name="chain: the batch says something of an older attempt",
        protects="the child of a redrive from being unknown",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, "chained_attempt < :attempt"),
        found_by=(CHAIN_OVERTAKEN,),
    ),
    Mutant(
        name="chain: the batch says what a deployment may change",
        protects="a child from being unknown to its parent",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, "chained_attempt = :attempt"),
        found_by=(NO_JOB,),
    ),
    Mutant(
        name="chain: a note of an older attempt replaces none of a later one",
        protects="a later child from being taken back by an old message",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, "chained_attempt < :attempt", always),
        found_by=(CHAIN_OVERTAKEN,),
    ),
    Mutant(
        name="chain: a note replaces none that is final",
        protects="a child from being taken for missing",
        module=chains,
        attribute="IS_THE_LATEST",
        instead=without(chains.IS_THE_LATEST, chains.DEPLOYMENT_MAY_CHANGE_IT, always),
        found_by=(NO_JOB,),
    ),
    Mutant(
        name="chain: the attempt is read again after the chunks",
        protects="a file from having rows of two attempts",
        module=chain.Chainer,
        attribute="_stands",
        instead=lambda *_: True,
        found_by=(CHAIN_OVERTAKEN,),
    ),
)
