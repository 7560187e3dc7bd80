"""The code blocks of a page, with the comment above each that says how it is tested."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_NOT_RUN = "not run: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block: its language, its lines, the comment above it, and where it is."""

    language: str
    text: str
    note: str
    page: str
    folder: str
    line: int

    @property
    def not_run(self) -> str:
        """Why no test runs it, empty if there is no such reason."""
        return self.note.removeprefix(_NOT_RUN) if self.note.startswith(_NOT_RUN) else ""

    def __str__(self) -> str:
        """Name the block as a test's parameter."""
        return f"{Path(self.folder).name}/{self.page}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            language=found["language"],
            text=found["text"],
            note=found["note"] or "",
            page=page.name,
            folder=page.parent.as_posix(),
            line=text.count("\n", 0, found.start()) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]
