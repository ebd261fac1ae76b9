"""The file of a benchmark's results: what is measured again is replaced, what is not stays."""

from pathlib import Path

from benchmarks.results_file import write_sections


def test_sections_that_are_not_measured_again_stay_in_their_places(tmp_path: Path) -> None:
    path = tmp_path / "RESULTS.md"
    write_sections(path, "# Title", {"One": ["a", ""], "Two": ["b", ""]}, "first")
    by_hand = path.read_text() + "\n## By hand\n\nA note.\n"
    path.write_text(by_hand)
    write_sections(path, "# Title", {"Two": ["c", ""], "Three": ["d"]}, "second")
    text = path.read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## One",
        "## Two",
        "## By hand",
        "## Three",
    ]
    assert by_hand.split("## Two")[0] in text
    assert "*first*\n\nb" not in text
    assert "## Two\n\n*second*\n\nc\n" in text
    assert "## By hand\n\nA note.\n" in text
    assert not list(tmp_path.glob("*.partial"))
