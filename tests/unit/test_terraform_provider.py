"""The AWS provider: every module is held to the major version that is tested, and avoids what the next drops."""

import re
from pathlib import Path

import hcl2

INFRA = Path(__file__).parents[2] / "infra"
VERSIONS = sorted(INFRA.rglob("versions.tf"))
FILES = sorted(INFRA.rglob("*.tf"))


def _constraint(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        (terraform,) = hcl2.load(file)["terraform"]
    (providers,) = terraform["required_providers"]
    return str(providers["aws"]["version"]).strip('"')


def test_no_module_takes_a_major_version_that_is_not_tested() -> None:
    """Without an upper bound the next `terraform init` brings version 6."""
    assert len(VERSIONS) > 10
    assert {path.parent.name: _constraint(path) for path in VERSIONS} == dict.fromkeys(
        (path.parent.name for path in VERSIONS), "~> 5.100"
    )


def test_the_region_is_not_read_by_an_attribute_that_version_6_deprecates() -> None:
    """`name` is deprecated there, `region` is not in version 5; `id` is in both."""
    used = {
        attribute
        for path in FILES
        for attribute in re.findall(r"data\.aws_region\.\w+\.(\w+)", path.read_text(encoding="utf-8"))
    }
    assert used == {"id"}
