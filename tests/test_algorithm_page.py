"""docs/algorithm.md: the files, pictures and numbers that it names are those of the code."""

import re
from pathlib import Path

import pytest

from splinegeo import _cutting, norm_walk, tolerance

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "algorithm.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(\w+\.py)`", PAGE))))
def test_its_files_exist(name: str) -> None:
    assert (DOCS.parent / "splinegeo" / name).is_file()


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_its_pictures_and_pages_exist(link: str) -> None:
    assert (DOCS / link).is_file()


def test_its_numbers_are_those_of_the_code() -> None:
    assert "2⁻⁴²" in PAGE
    assert tolerance.TOLERANCE == 2.0**-42
    assert "4·2⁻⁴² of the domain's diameter" in PAGE
    assert tolerance.CLOSENESS == 4.0
    assert "first cut by sixteen of them" in PAGE
    assert _cutting.FIRST_CUT == 16
    assert "begins anew every 256 regions" in PAGE
    assert norm_walk._LONGEST_PATH == 256
