"""The tables in the READMEs of Terraform modules: what they say, and that a stale one is noticed."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tools.generated import BEGIN, END
from tools.terraform_readmes import main

VERSIONS = """terraform {
  required_version = ">= 1.9"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 5.100"
    }
  }
}
"""
VARIABLES = """variable "name" {
  description = "Name of <it> | of them."
  type        = string
  nullable    = false

  validation {
    condition     = var.name != ""
    error_message = "name must say \\"something\\"."
  }
}

variable "days" {
  description = "Days it stays."
  type        = object({ keep = optional(number, 30), of = list(string) })
  default     = { keep = 7, of = ["a"] }
}
"""
MAIN = """resource "aws_sqs_queue" "this" {
  name = var.name
}

resource "aws_sqs_queue" "dlq" {
  name = "${var.name}-dlq"
}
"""
OUTPUTS = """output "url" {
  description = "Where to send."
  value       = aws_sqs_queue.this.url
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    module = tmp_path / "modules" / "queue"
    module.mkdir(parents=True)
    for folder, title in ((tmp_path, "infra"), (module, "queue")):
        (folder / "versions.tf").write_text(VERSIONS)
        (folder / "README.md").write_text(f"# {title}\n\nWhat it is\nfor.\n\n{BEGIN}\n{END}\n\nThe end.\n")
    (module / "variables.tf").write_text(VARIABLES)
    (module / "main.tf").write_text(MAIN)
    (module / "outputs.tf").write_text(OUTPUTS)
    return tmp_path


def run(root: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["--root", str(root), *arguments])
    return result.exit_code, result.output


def test_a_readme_tells_inputs_rules_outputs_and_resources(root: Path) -> None:
    """The tables have what a caller needs to know, in Markdown that no character of a description breaks."""
    assert run(root)[0] == 0
    text = (root / "modules" / "queue" / "README.md").read_text()
    assert "Needs Terraform >= 1.9, hashicorp/aws ~> 5.100." in text
    assert "| `name` | `string` | required | Name of &lt;it&gt; \\| of them. |" in text
    kept = "object({keep = optional(number, 30), of = list(string)})"
    assert f'| `days` | `{kept}` | `{{"keep": 7, "of": ["a"]}}` | Days it stays. |' in text
    assert '- name must say "something".' in text
    assert "| `url` | Where to send. |" in text
    assert text.index("| `aws_sqs_queue.dlq` |") < text.index("| `aws_sqs_queue.this` |")


def test_the_roots_readme_lists_the_modules(root: Path) -> None:
    run(root)
    assert "| [`queue`](modules/queue) | What it is for. |" in (root / "README.md").read_text()


def test_an_example_that_stands_alone_has_tables_too(root: Path) -> None:
    shutil.copytree(root / "modules" / "queue", root / "examples" / "queue")
    run(root)
    example, module = (root / folder / "queue" / "README.md" for folder in ("examples", "modules"))
    assert example.read_text() == module.read_text()


def test_what_is_outside_the_markers_stays(root: Path) -> None:
    run(root)
    text = (root / "modules" / "queue" / "README.md").read_text()
    assert text.startswith(f"# queue\n\nWhat it is\nfor.\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nThe end.\n")


def test_a_readme_that_was_written_is_current(root: Path) -> None:
    run(root)
    assert run(root, "--check") == (0, "")


def test_a_new_variable_makes_its_readme_stale(root: Path) -> None:
    """The check names the README, writes nothing and fails."""
    run(root)
    readme = root / "modules" / "queue" / "README.md"
    before = readme.read_text()
    with (root / "modules" / "queue" / "variables.tf").open("a") as file:
        file.write('\nvariable "more" {\n  description = "More."\n  type = bool\n  default = false\n}\n')
    code, said = run(root, "--check")
    assert code == 1
    assert f"not current: {readme}" in said
    assert readme.read_text() == before


def test_a_readme_without_markers_is_an_error_not_an_empty_table(root: Path) -> None:
    (root / "README.md").write_text("# infra\n\nNo markers.\n")
    code, said = run(root)
    assert code == 1
    assert "has no lines" in said


def test_a_variable_without_a_description_is_an_error(root: Path) -> None:
    (root / "modules" / "queue" / "variables.tf").write_text('variable "name" {\n  type = string\n}\n')
    code, said = run(root)
    assert code == 1
    assert "variable name has no description." in said
