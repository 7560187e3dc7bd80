"""A line of the table: a ratio with a goal, and the figures behind it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

_BEGIN, _END = "<!-- bench: begin -->", "<!-- bench: end -->"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One measured figure; ``most`` and ``least`` are the goal, None where there is none."""

    name: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None
    raw: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is met; None without a goal."""
        if self.most is None and self.least is None:
            return None
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    @property
    def goal(self) -> str:
        """The goal in words."""
        bounds = (("<=", self.most), (">=", self.least))
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)

    def cells(self) -> tuple[str, str, str, str, str]:
        """Return the row of the table."""
        verdict = {True: "met", False: "MISSED", None: ""}[self.met]
        raw = ", ".join(f"{name} {_shown(value)}" for name, value in self.raw.items())
        return self.name, f"{_shown(self.value)} {self.unit}".strip(), self.goal, verdict, raw

    def as_json(self) -> dict[str, Any]:
        """Return the line for ``--json``."""
        return asdict(self) | {"met": self.met}


def with_table(page: str, lines: Sequence[Line], *, said: str) -> str:
    """Return a Markdown page with these lines as its table; it must have the two markers."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    cells = [" | ".join(line.cells()) for line in lines]
    rows = [f"Measured {said}:", "", "| what | measured | goal | | figures |", "|---|---|---|---|---|"]
    return "\n".join([f"{before}{_BEGIN}", "", *rows, *(f"| {each} |" for each in cells), "", f"{_END}{after}"])


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 10 else f"{value:,.1f}"  # noqa: PLR2004  digits that say something
    return f"{value:,}" if isinstance(value, int) else str(value)
