"""The page on deploying: every command in it can be typed, every link leads somewhere, and the traps come last."""

import re
import shlex
from pathlib import Path

import pytest

from tally.cli import tally

REPO = Path(__file__).parents[4]
PAGE = (REPO / "docs" / "deploy.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
COMMANDS = sorted(set(re.findall(r"(?:^|`)(tally [a-z][^`#\n]*)", PAGE, re.MULTILINE)))
FOLLOWED = ["Before you begin", "The first stage", "The first batch", "Examine a stage", "Prove a stage", "Being told"]


def test_the_page_leads_from_nothing_to_a_batch_and_ends_with_the_traps() -> None:
    assert SECTIONS[: len(FOLLOWED)] == FOLLOWED
    assert SECTIONS[-1] == "By hand, and the traps"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_can_be_typed_as_it_stands(command: str) -> None:
    """With files and a batch in the place of the page's own; a mere name of a command stands for its use."""
    _, name, *arguments = shlex.split(command)
    known = tally.commands[name]
    stands_for_itself = not arguments
    files = {"sample.csv", "FILE", "infra/prod.tfvars"}
    arguments = [__file__ if part in files and name != "sample" else part for part in arguments]
    if not stands_for_itself:
        known.make_context(name, arguments)


def test_every_command_that_deploys_or_looks_is_on_the_page() -> None:
    names = {command.split()[1] for command in COMMANDS}
    assert {"deploy", "destroy", "sample", "submit", "list", "rows", "audit", "pause", "resume", "redrive"} <= names


def test_every_option_of_deploy_and_destroy_is_on_the_page() -> None:
    for name in ("deploy", "destroy"):
        of_every_command = {"stage", "as_json", "debug"}
        options = [option for option in tally.commands[name].params if option.name not in of_every_command]
        assert options
        for option in options:
            assert option.opts[0] in PAGE, f"{name} {option.opts[0]}"


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", section.lower()).replace(" ", "-") for section in SECTIONS}
    assert set(re.findall(r"\]\(#([a-z-]+)\)", PAGE)) <= anchors
    for file, anchor in re.findall(r"\]\((\.\./[^)#]+|[a-z]+\.md)(#[^)]+)?\)", PAGE):
        target = REPO / "docs" / file
        assert target.exists(), file
        if anchor and target.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor[1:] in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}


def test_every_link_of_another_page_to_a_section_leads_there() -> None:
    anchors = {re.sub(r"[^a-z0-9 -]", "", section.lower()).replace(" ", "-") for section in SECTIONS}
    for path in (*REPO.glob("docs/**/*.md"), *REPO.glob("infra/**/*.md"), REPO / "README.md"):
        linked = re.findall(r"deploy\.md#([a-z-]+)\)", path.read_text(encoding="utf-8"))
        assert set(linked) <= anchors, path.name


def test_every_makefile_target_of_the_page_exists() -> None:
    makefile = (REPO / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", PAGE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
