"""The file of results: a section for each part of a benchmark, replaced when that part is measured again."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_MARK = "## "


def write_sections(path: Path, title: str, measured: Mapping[str, Sequence[str]], source: str) -> None:
    """Put the measured sections into the file, each with its source; other sections, and their order, stay."""
    sections = _read_sections(path)
    for name, lines in measured.items():
        sections[name] = ["", f"*{source}*", "", *lines]
    text = [title, "", "Each section says when and how it was measured.", ""]
    for name, lines in sections.items():
        text += [_MARK + name, *lines]
    partial = path.with_suffix(".partial")
    partial.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    os.replace(partial, path)


def _read_sections(path: Path) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        if line.startswith(_MARK):
            lines = sections.setdefault(line.removeprefix(_MARK), [])
        else:
            lines.append(line)
    return sections
