"""Verdicts of the benchmark of threads, from the seconds of each turn."""

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def row(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Cells of the row of a workload, which takes a second on one thread."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads_table = importlib.import_module("targets").threads_table

    def cells(workload: str, together: list[float], beside: float = 1.0) -> list[str]:
        n = len(together)
        taken = {"alone": [1.0] * n, "together": together, "beside": [beside] * n}
        (line,) = (line for line in threads_table({workload: taken}, 2) if line.startswith(f"| {workload}"))
        return [cell.strip() for cell in line.strip("|").split("|")]

    return cells


@pytest.mark.parametrize(
    ("workload", "together", "verdict"),
    [
        ("L10", [0.65, 0.66, 0.66], "1.5 ×: met"),
        ("L10", [0.65, 0.68, 0.68], "1.5 ×: missed"),
        ("M", [1.2, 1.2, 1.2, 0.9, 0.9], "not slower: met"),
        ("M", [1.01, 1.01, 1.01, 1.01, 0.9], "not slower: missed"),
    ],
)
def test_the_median_turn_decides_or_whether_three_of_four_are_slower(
    row: Callable[..., list[str]], workload: str, together: list[float], verdict: str
) -> None:
    assert row(workload, together)[-1] == verdict


def test_processes_at_once_are_counted_for_all_that_they_do(row: Callable[..., list[str]]) -> None:
    """Two processes of which each takes a quarter longer than one alone do 1.6 times its work."""
    assert row("L10", [0.5, 0.5, 0.5], beside=1.25)[5] == "1.60 ×"
