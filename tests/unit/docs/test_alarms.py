"""The runbook names every alarm with the section that its description leads to, and no other alarm."""

import re

import pytest

from tests.support.inventory import MADE_UP, REPO, coded, table

RUNBOOK = (REPO / "docs" / "runbook.md").read_text(encoding="utf-8")
TESTS = REPO / "infra" / "tests"
MODULE = REPO / "infra" / "modules" / "alarms"
TERRAFORM = "".join((TESTS / f"{name}.tftest.hcl").read_text("utf-8") for name in ("observability", "adoption"))
"""Native tests of Terraform, which have the name and the section of each alarm of a plan."""
SECTIONS = set(re.findall(r"^## (.+)$", RUNBOOK, re.MULTILINE))


def alarms(terraform: str) -> dict[str, str]:
    """Return the section of each alarm, by its name without the stage."""
    listed = re.search(r"run \"alarms_on_what_no_other_alarm_tells\".*?== \{\n(.*?)\n +\}", terraform, re.DOTALL)
    assert listed
    deployed = re.findall(r'\["tally-alpha-([a-z_-]+)"\], "docs/runbook\.md#([a-z-]+)\."\)', terraform)
    return dict(re.findall(r'^ +([a-z_-]+) += "([a-z-]+)"$', listed[1], re.MULTILINE)) | dict(deployed)


def complaints(declared: dict[str, str], runbook: str) -> list[str]:
    """Return a line for each alarm that the runbook does not lead to its section, or that is not there."""
    described = {
        name: section
        for names, link in table(runbook, "all alarms")
        for name in coded(names)
        for section in re.findall(r"\]\(#([a-z-]+)\)", link)
    }
    return [
        f"{name}: leads to {declared.get(name, 'nowhere')}, in the runbook to {described.get(name, 'nowhere')}"
        for name in sorted(declared.keys() | described.keys())
        if declared.get(name) != described.get(name) or described[name] not in SECTIONS
    ]


def test_the_runbook_names_every_alarm_and_its_section() -> None:
    assert len(alarms(TERRAFORM)) >= 25
    assert complaints(alarms(TERRAFORM), RUNBOOK) == []


def test_an_alarm_that_the_runbook_lacks_is_found() -> None:
    """A mutant of Terraform has one more."""
    mutant = TERRAFORM.replace("      stalled  ", f'      {MADE_UP} = "dead-letters"\n      stalled  ', 1)
    assert complaints(alarms(mutant), RUNBOOK) == [f"{MADE_UP}: leads to dead-letters, in the runbook to nowhere"]


@pytest.mark.parametrize("name", sorted(alarms(TERRAFORM)))
def test_an_alarm_that_is_gone_or_renamed_or_leads_elsewhere_is_found(name: str) -> None:
    """Each in turn, in Terraform and in the runbook."""
    declared = alarms(TERRAFORM)
    section = declared[name]
    renamed = re.sub(rf"`{name}`", f"`{MADE_UP}`", RUNBOOK)
    assert {each.partition(":")[0] for each in complaints(declared, renamed)} == {name, MADE_UP}
    assert complaints(declared | {name: "too-many-failures"}, RUNBOOK) == [
        f"{name}: leads to too-many-failures, in the runbook to {section}"
    ]
    assert complaints({each: to for each, to in declared.items() if each != name}, RUNBOOK) == [
        f"{name}: leads to nowhere, in the runbook to {section}"
    ]


def kinds(module: str) -> set[str]:
    """Return what the names of the module's alarms end in."""
    return set(re.findall(r'"\$\{[a-z.]+\}-([a-z]+)" => merge\(local\.usual', module))


def described_kinds(readme: str) -> set[str]:
    return {name.rpartition("-")[2] for names, _ in table(readme, "all kinds of alarms") for name in coded(names)}


def test_the_module_describes_every_kind_of_alarm_that_it_makes_and_no_other() -> None:
    module, readme = ((MODULE / name).read_text(encoding="utf-8") for name in ("main.tf", "README.md"))
    assert len(kinds(module)) >= 8
    assert kinds(module) == described_kinds(readme)
    assert kinds(module.replace("-silent", "-mute")) ^ described_kinds(readme) == {"silent", "mute"}
    assert kinds(module) ^ described_kinds(readme.replace("-silent", "-unseen")) == {"silent", "unseen"}


def test_every_alarm_leads_to_the_runbook_by_its_description() -> None:
    """It is what an operator gets at night."""
    text = (REPO / "infra" / "observability.tf").read_text(encoding="utf-8")
    descriptions = re.findall(r'\bdescription\s*= ("[^\n]*")|\w+_description\s*= [^"\n]*("[^\n]*")', text)
    found = [first or second for first, second in descriptions]
    assert len(found) > 10
    assert [each for each in found if "${local.runbook}" not in each] == []
