"""Table 2 of arXiv 2506.12284: how the Jacobian's rows align with the training points, without and with GrokAlign.

Table 1's setting under cross-entropy, trained on: GrokAlign for 10 000 epochs, the baseline until its test accuracy
exceeds 88.9 %, which is where the paper looks at it. The optimum has rows a·x and b·x with a > 0 > b: cosines 1 and −1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiments.run_folder import RunFolder
from experiments.runs import table1
from experiments.runs.table1 import BASELINE, mean_and_deviation
from experiments.settings import RunSettings

METHODS = (BASELINE, "grokalign")
BASELINE_ACCURACY = 0.889
"""Test accuracy of the paper's baseline."""


@dataclass(frozen=True)
class Setting:
    """What all runs of the table share, and how long each method trains."""

    name: str
    description: str
    of_table1: table1.Setting
    grokalign_epochs: int
    baseline_epochs: int
    baseline_stops_at: float | None


PAPER = Setting(
    "table2",
    "Table 1's setting; GrokAlign for 10 000 epochs, the baseline to 88.9 % on the test set or 100 000 epochs",
    table1.PAPER,
    10_000,
    100_000,
    BASELINE_ACCURACY,
)
QUICK = Setting(
    "table2_quick",
    "QUICK, not the paper's setting: initial weights × 4 instead of × 8, both methods for 1500 epochs",
    table1.QUICK,
    1500,
    1500,
    None,
)


def settings(setting: Setting, method: str, seed: int) -> RunSettings:
    """The settings of one run."""
    base = table1.settings(setting.of_table1, "cross-entropy", method, seed)
    of_baseline = method == BASELINE
    training = replace(
        base.training,
        epochs=setting.baseline_epochs if of_baseline else setting.grokalign_epochs,
        stop_at=setting.baseline_stops_at if of_baseline else None,
    )
    return replace(base, training=training)


HEADER = ("method", "seeds", "epochs", "test accuracy", "highest row alignment", "lowest row alignment", "PC1")


def rows(runs: Sequence[tuple[str, RunFolder]]) -> list[list[str]]:
    """One row for each method of finished runs (method, run): mean ± standard deviation over seeds at the last epoch.

    Row alignments are the means over the training points of the largest and smallest cosine of a Jacobian's row with
    its point.
    """
    table = []
    for method in METHODS:
        last = [run.metrics()[-1] for name, run in runs if name == method]
        if last:
            table.append(
                [
                    method,
                    str(len(last)),
                    mean_and_deviation([entry["epoch"] for entry in last], 0),
                    f"{mean_and_deviation([100 * entry['test_accuracy'] for entry in last], 1)} %",
                    mean_and_deviation([entry["row_alignment_highest_mean"] for entry in last], 3),
                    mean_and_deviation([entry["row_alignment_lowest_mean"] for entry in last], 3),
                    mean_and_deviation([entry["pc1_mean"] for entry in last], 3),
                ]
            )
    return table
