"""The example of docs/own_model.md runs as printed, and does what the page says."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import splinegeo as sg
from experiments.errors import SettingsError
from experiments.losses import squared_error
from experiments.methods import AdversarialNoise
from experiments.training import EpochSummary, Training

PAGE = Path(__file__).parent.parent / "docs" / "own_model.md"


def test_the_example_aligns_the_model(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread
):
    torch.manual_seed(0)
    first, saving, second = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    names: dict[str, object] = {}
    exec(first, names)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["20", "40", "60"]
    model, x = names["model"], names["x"]
    assert isinstance(model, torch.nn.Module)
    assert isinstance(x, torch.Tensor)
    alignments = [float(row[2]) for row in rows]
    assert alignments[-1] == pytest.approx(sg.alignment(model, x).mean().item(), abs=1e-12)
    assert float(rows[-1][3]) > 0
    assert alignments[-1] > alignments[0] > 0
    monkeypatch.chdir(tmp_path)
    writing, reading = saving.split("\n\ncheckpoint")
    exec(writing, names)
    training = names["training"]
    assert isinstance(training, Training)
    expected = [training.run_epoch() for _ in range(2)]
    # As in another process, on the same samples: the same lines, with other initial weights.
    again: dict[str, object] = {}
    exec(first.split("for epoch")[0], again)
    again |= {name: names[name] for name in ("path", "read_checkpoint", "load_weights")}
    other = again["training"]
    assert isinstance(other, Training)
    other.batches = training.batches
    exec("checkpoint" + reading, again)
    assert [other.run_epoch() for _ in range(2)] == expected
    exec(second, names)
    n_regions, _ = capsys.readouterr().out.split(maxsplit=1)
    assert int(n_regions) > 10


CASES = {
    "label without an output": ({"y": torch.tensor([0, 1, 3, 2])}, "the largest label is 3, the model has 3 outputs"),
    "negative label": ({"y": torch.tensor([0, 1, -1, 2])}, "labels begin at 0, the smallest one is -1"),
    "labels in a column": ({"y": torch.tensor([[0], [1], [1], [2]])}, r"y has shape \(4, 1\) .* whole numbers \(n,\)"),
    "fewer labels": ({"y": torch.tensor([0, 1, 1])}, r"as many targets as samples.* x has shape \(4, 6\), y \(3,\)"),
    "no samples": ({"x": torch.zeros(0, 6), "y": torch.zeros(0).long()}, "at least one"),
    "arrays": ({"y": [0, 1, 1, 2]}, "must be tensors, got Tensor and list"),
    "no batch": ({"batch_size": 0}, "batch size must be at least 1, got 0"),
    "targets": ({"y": torch.zeros(4, 3)}, "squared_error takes labels"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_said(case: str):
    changes, said = CASES[case]
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    given: dict[str, Any] = {"x": torch.ones(4, 6), "y": torch.tensor([0, 1, 1, 2])} | changes
    with pytest.raises(SettingsError, match=said):
        Training(model, loss=squared_error, optimizer=optimizer, **given).run_epoch()


def test_the_penalty_must_be_on_the_model_in_training():
    model, other = torch.nn.Linear(6, 3), torch.nn.Linear(6, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SettingsError, match="another model"):
        Training(
            model, torch.ones(4, 6), torch.zeros(4).long(), squared_error, optimizer, grokalign=sg.GrokAlign(other)
        )


@pytest.mark.parametrize("with_penalty", [False, True])
def test_a_model_of_several_outputs_is_refused(with_penalty: bool):
    class Two(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(6, 3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(x), x

    model = Two()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    penalty = sg.GrokAlign(model) if with_penalty else None
    with pytest.raises(sg.ShapeError, match="returns a tuple"):
        Training(
            model, torch.ones(4, 6), torch.zeros(4).long(), squared_error, optimizer, grokalign=penalty
        ).run_epoch()


@pytest.mark.parametrize("dtype", [torch.int32, torch.uint8])
def test_labels_of_other_whole_numbers_train_alike(dtype: torch.dtype):
    x, y = torch.randn(32, 6, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3

    def summary(labels: torch.Tensor) -> EpochSummary:
        torch.manual_seed(0)
        model = torch.nn.Linear(6, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return Training(model, x, labels, torch.nn.functional.cross_entropy, optimizer, batch_size=8).run_epoch()

    assert summary(y.to(dtype)) == summary(y)


def test_regression_trains_with_grokalign_and_noise():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator)
    y = x[:, :1] - x[:, 1:2]
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    training = Training(
        model,
        x,
        y,
        torch.nn.functional.mse_loss,
        optimizer,
        grokalign=sg.GrokAlign(model, 1e-4),
        methods=[AdversarialNoise(torch.Generator().manual_seed(1))],
        batch_size=16,
    )
    summaries = [training.run_epoch() for _ in range(60)]
    assert all(math.isnan(summary.accuracy) for summary in summaries)
    assert summaries[-1].loss < 0.05 * summaries[0].loss


def test_the_example_is_short():
    first = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)[0]
    statements = [line for line in first.splitlines() if line.strip() and not line.startswith(("import", "from"))]
    assert len(statements) <= 10
