"""The tables in the READMEs of Terraform modules, written from the modules themselves.

``python -m tools.terraform_readmes`` writes them; with ``--check`` it names those that are not current, and exits
with 1 if there are any.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import hcl2

from tools.generated import REPO, between, write

ROOT = REPO / "infra"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """A variable."""

    name: str
    type: str
    default: str
    description: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A folder of .tf files."""

    folder: Path
    inputs: tuple[Input, ...]
    outputs: tuple[tuple[str, str], ...]
    resources: tuple[str, ...]
    terraform: str
    providers: tuple[tuple[str, str], ...]

    @classmethod
    def load(cls, folder: Path) -> "Module":
        """Read a module; raises what python-hcl2 raises for a file that is not HCL."""
        blocks: dict[str, list[dict[str, Any]]] = {}
        for path in sorted(folder.glob("*.tf")):
            with path.open(encoding="utf-8") as file:
                for kind, found in hcl2.load(file).items():
                    blocks.setdefault(kind, []).extend(found)
        requirements = {name: value for block in blocks.get("terraform", []) for name, value in block.items()}
        providers = [
            (_text(provider["source"]), _text(provider["version"]))
            for block in requirements.get("required_providers", [])
            for provider in block.values()
            if isinstance(provider, dict)
        ]
        return cls(
            folder=folder,
            inputs=tuple(_input(name, body) for name, body in _labelled(blocks.get("variable", []))),
            outputs=tuple((name, _text(body["description"])) for name, body in _labelled(blocks.get("output", []))),
            resources=tuple(
                sorted(
                    f"{kind}.{name}"
                    for kind, bodies in _labelled(blocks.get("resource", []))
                    for name, _ in _labelled([bodies])
                )
            ),
            terraform=_text(requirements["required_version"]),
            providers=tuple(providers),
        )


def tables(module: Module, version: str) -> str:
    """Return the text between the markers of the module's README."""
    needs = ", ".join(["Terraform " + module.terraform, *(" ".join(provider) for provider in module.providers)])
    parts = [f"Version {version}. Needs {needs}."]
    parts.append(
        _table(
            "| input | type | default | |",
            ((f"`{i.name}`", f"`{i.type}`", i.default, cell(i.description)) for i in module.inputs),
        )
    )
    rules = [f"- {cell(rule)}" for i in module.inputs for rule in i.rules]
    if rules:
        parts.append("A plan fails unless:\n\n" + "\n".join(rules))
    parts.append(_table("| output | |", ((f"`{name}`", cell(description)) for name, description in module.outputs)))
    if module.resources:
        parts.append(_table("| resource |", ((f"`{resource}`",) for resource in module.resources)))
    children = sorted((module.folder / "modules").glob("*/README.md"))
    if children:
        rows = ((f"[`{path.parent.name}`](modules/{path.parent.name})", _purpose(path)) for path in children)
        parts.append(_table("| module | |", rows))
    return "\n\n".join(parts)


def current(readme: Path, version: str) -> str:
    """Return the README with current tables; raises ClickException if it has no place for them."""
    return between(readme, tables(Module.load(readme.parent), version))


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when a README is not current.")
@click.option("--root", type=click.Path(path_type=Path, exists=True, file_okay=False), default=ROOT, show_default=True)
def main(*, check: bool, root: Path) -> None:
    """Write the tables of the root module's README, of its modules' and of the examples that stand alone."""
    version = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    alone = [path.parent for group in ("modules", "examples") for path in root.glob(f"{group}/*/versions.tf")]
    readmes = [folder / "README.md" for folder in [root, *alone]]
    for readme in readmes:
        if not readme.is_file():
            raise click.ClickException(f"{readme.parent} has no README.md.")
    write({readme: current(readme, version) for readme in readmes}, check=check)


def _labelled(blocks: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield label and body of each block; python-hcl2 keeps the label's quotes and adds marks of its own."""
    for block in blocks:
        yield from ((_text(name), body) for name, body in block.items() if isinstance(body, dict))


def _input(name: str, body: dict[str, Any]) -> Input:
    missing = {"type", "description"} - body.keys()
    if missing:
        raise click.ClickException(f"variable {name} has no {' and no '.join(sorted(missing))}.")
    return Input(
        name=name,
        type=_expression(body["type"]),
        default=f"`{_literal(body['default'])}`" if "default" in body else "required",
        description=_text(body["description"]),
        rules=tuple(_text(rule["error_message"]) for rule in body.get("validation", [])),
    )


def _text(value: str) -> str:
    """Return a string literal without its quotes and escapes."""
    return str(json.loads(value)) if value.startswith('"') else value


def _expression(value: str) -> str:
    return value[2:-1] if value.startswith("${") else value


def _literal(value: Any) -> str:
    return _expression(value) if isinstance(value, str) else json.dumps(_unquoted(value))


def _unquoted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unquoted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unquoted(item) for item in value]
    return _text(value) if isinstance(value, str) else value


def cell(text: str) -> str:
    """Return a text for a cell of a table."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace(">", "&gt;")


def _table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    ruler = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, ruler, *(f"| {' | '.join(row)} |" for row in rows)])


def _purpose(readme: Path) -> str:
    """Return the first paragraph below the title."""
    return readme.read_text(encoding="utf-8").split("\n\n")[1].replace("\n", " ")


if __name__ == "__main__":
    main()
