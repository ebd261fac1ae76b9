"""The gallery: every command has its picture or table there, and the page is the one that its entries make."""

import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from experiments.cli import app

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def gallery() -> Any:
    sys.path.insert(0, str(DOCS))
    try:
        import gallery_page
    finally:
        sys.path.remove(str(DOCS))
    return gallery_page


def commands() -> list[str]:
    """Every command of the program that a user can give, such as "regions" or "figure 3"."""
    found = []
    for name, command in typer.main.get_command(app).commands.items():
        inner = getattr(command, "commands", None)
        found += [name] if inner is None else [f"{name} {part}" for part in inner]
    return found


def test_every_command_has_an_entry(gallery: Any):
    assert len(commands()) > 20
    shown = [entry.command.removeprefix("splinegeo ") + " " for entry in gallery.entries()]
    assert [name for name in commands() if not any(text.startswith(f"{name} ") for text in shown)] == []


def test_every_command_of_the_page_is_one(gallery: Any):
    for entry in gallery.entries():
        assert any(f"{entry.command} ".startswith(f"splinegeo {name} ") for name in commands()), entry.command


def test_the_page_shows_what_is_there(gallery: Any):
    assert [entry.shown for entry in gallery.entries() if not entry.path.is_file()] == []
    assert (DOCS / "gallery" / "index.md").read_text("utf-8") == gallery.page(gallery.entries())


def test_every_picture_of_the_folder_is_shown(gallery: Any):
    kept = {path.resolve() for path in (DOCS / "gallery").iterdir() if path.name != "index.md"}
    assert kept <= {entry.path.resolve() for entry in gallery.entries()}
