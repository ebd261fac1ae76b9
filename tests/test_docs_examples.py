"""The Python of every page in docs/ runs as printed, and makes what the page says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from display_marks import needs_display

import splinegeo as sg

DOCS = Path(__file__).parent.parent / "docs"
ELSEWHERE = {"own_model.md"}  # tests/test_own_model.py


def examples(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)


def test_no_page_is_forgotten() -> None:
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md") if "```py" in path.read_text()}
    assert pages == {"export_html.md", "explorer.md"} | ELSEWHERE


def test_a_page_to_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = examples("export_html.md")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["part"].n_regions > 100
    page = (tmp_path / "page.html").read_text()
    assert "<title>My network</title>" in page
    assert "my network" in page


class TestExplorer:
    pytestmark = needs_display

    def test_from_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        napari = pytest.importorskip("napari", reason="napari is not installed: pip install 'splinegeo[napari]'")
        monkeypatch.setattr(napari, "run", lambda: None)  # it would wait for the user
        (example,) = examples("explorer.md")
        torch.manual_seed(0)
        names: dict[str, Any] = {}
        exec(example, names)
        explorer, part = names["explorer"], names["part"]
        try:
            assert isinstance(part, sg.Partition)
            assert part.n_regions > 100
            np.testing.assert_array_equal(explorer.session.custom["in-radius"], part.statistics().in_radii)
        finally:
            explorer.close()
            explorer.viewer.close()
