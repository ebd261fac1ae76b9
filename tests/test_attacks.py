"""Adversarial attacks by the real AutoAttack: they stay in their ball, beat noise, and leave the model alone."""

import builtins
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import small_run
from torch import nn

import experiments.robustness as robustness_module
import experiments.robustness_figure as robustness_figure
from experiments.attacks import EPSILON, OnPixels, attacked_accuracy
from experiments.data import LabelledImages
from experiments.errors import SettingsError
from experiments.losses import cross_entropy, squared_error
from experiments.metrics import accuracy_and_loss, robust_accuracy
from experiments.models import mlp
from experiments.robustness import RobustnessSettings, measured
from experiments.run_folder import RunFolder
from experiments.training import Training
from splinegeo.errors import MissingExtraError

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(mnist: LabelledImages) -> LabelledImages:
    return mnist.first(512, 96).to(CPU, torch.float32)


@pytest.fixture(scope="module")
def model(data: LabelledImages) -> nn.Module:
    network = mlp((1, 28, 28), 10, hidden_widths=(32,))
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.003)
    training = Training(network, data.x_train, data.y_train, cross_entropy, optimizer, batch_size=64)
    for _ in range(12):
        training.run_epoch()
    return network


def binary(data: LabelledImages) -> tuple[LabelledImages, nn.Module]:
    """Digits 4 and 9 and a linear classifier of them: the worst perturbation has a closed form."""
    chosen = (data.y_test == 4) | (data.y_test == 9)
    labels = (data.y_test[chosen] == 9).long()
    few = replace(data, x_test=data.x_test[chosen], y_test=labels, n_classes=2)
    means = torch.stack([data.x_train[data.y_train == c].mean(0).flatten() for c in (4, 9)])
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    with torch.no_grad():
        network[1].weight.copy_(0.02 * means)
        network[1].bias.copy_(-0.01 * means.square().sum(1))
    return few, network


@pytest.mark.parametrize("epsilon", [0.02, 0.05, 0.08])
def test_of_a_linear_classifier_it_is_the_closed_form(data: LabelledImages, epsilon: float):
    few, network = binary(data)
    pixels = few.pixels(few.x_test).flatten(1).clamp(0, 1)
    difference = (network[1].weight[0] - network[1].weight[1]).detach() / data.std[0]
    sign = torch.where(few.y_test == 0, 1.0, -1.0)[:, None]
    # Each pixel goes as far against the right class as the ball and the box allow.
    worst = (pixels - epsilon * sign * difference.sign()).clamp(0, 1)
    outputs = OnPixels(network, few)(worst.view(-1, 1, 28, 28))
    expected = (outputs.argmax(1) == few.y_test).float().mean().item()
    found = attacked_accuracy(network, few, epsilon=epsilon)
    assert 0 < expected < 1
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_attack_beats_noise_of_the_same_size(model: nn.Module, data: LabelledImages):
    clean = accuracy_and_loss(model, data.x_test, data.y_test, cross_entropy)[0]
    epsilon = 0.06
    attacked = attacked_accuracy(model, data, epsilon=epsilon)
    # Gaussian noise of that deviation is longer than what the attack may use.
    noisy = robust_accuracy(model, data, cross_entropy, epsilon)
    assert clean > 0.7
    assert attacked < noisy - 0.3
    assert attacked_accuracy(model, data, epsilon=epsilon) == attacked  # one seed, one result
    assert attacked_accuracy(model, data, epsilon=1e-6) == clean
    assert attacked <= attacked_accuracy(model, data, epsilon=epsilon / 3) <= clean


@pytest.mark.long
def test_the_standard_ensemble_is_at_least_as_strong(model: nn.Module, data: LabelledImages):
    few = data.first(512, 6)
    weaker = attacked_accuracy(model, few, epsilon=0.03)
    assert weaker > 0
    assert attacked_accuracy(model, few, attack="standard", epsilon=0.03) <= weaker


def test_pixels_are_normalised_inside(model: nn.Module, data: LabelledImages):
    outputs = OnPixels(model, data)(data.pixels(data.x_test))
    assert (outputs - model(data.x_test)).abs().max() < 1e-4


def test_the_papers_convention_is_another_threat(model: nn.Module, data: LabelledImages):
    # Normalised inputs are clipped to [0, 1], whatever epsilon is: even a tiny attack then sees other images.
    clean = accuracy_and_loss(model, data.x_test, data.y_test, cross_entropy)[0]
    perturbed = attacked_accuracy(model, data, epsilon=1e-6, space="normalised")
    clipped = data.x_test.clamp(0, 1)
    of_clipped = (model(clipped).argmax(1) == data.y_test).float().mean().item()
    assert min(clean, of_clipped) - 0.05 <= perturbed <= max(clean, of_clipped) + 0.05
    # In units of the deviation, 0.3081, the same number is a smaller step in pixels.
    assert attacked_accuracy(model, data, epsilon=0.06, space="normalised") > attacked_accuracy(
        model, data, epsilon=0.06
    )


def test_the_model_stays_as_it_was(model: nn.Module, data: LabelledImages):
    few = data.first(512, 8)
    model.train()
    model[1].weight.requires_grad_(False)
    before = [parameter.clone() for parameter in model.parameters()]
    state = torch.get_rng_state()
    attacked_accuracy(model, few)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True]
    model[1].weight.requires_grad_(True)
    assert all(torch.equal(old, new) for old, new in zip(before, model.parameters(), strict=True))
    assert all(parameter.grad is None or not parameter.grad.isnan().any() for parameter in model.parameters())


def test_refusals(model: nn.Module, data: LabelledImages, monkeypatch: pytest.MonkeyPatch):
    for arguments, message in (
        ({"attack": "fgsm"}, "attack must be one of apgd-ce, standard; got 'fgsm'"),
        ({"space": "log"}, "space must be one of pixels, normalised; got 'log'"),
        ({"epsilon": 0.0}, "epsilon must be positive and finite, got 0.0"),
    ):
        with pytest.raises(SettingsError, match=message):
            attacked_accuracy(model, data, **arguments)
    few, network = binary(data)
    with pytest.raises(SettingsError, match="aims at nine other classes, there are 2"):
        attacked_accuracy(network, few, attack="standard")
    real_import = builtins.__import__

    def without_pyautoattack(name: str, *arguments, **keywords):
        if name.startswith("pyautoattack"):
            raise ImportError(name)
        return real_import(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_pyautoattack)
    with pytest.raises(MissingExtraError, match=r"pip install 'splinegeo\[attacks\]'"):
        attacked_accuracy(model, data)


# the command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, mnist: LabelledImages) -> RunFolder:
    path = small_run(
        tmp_path_factory.mktemp("runs") / "run",
        mnist,
        *(256, 48),
        widths=(24,),
        initial_scale=1.0,
        batch_size=64,
        epochs=12,
        dtype="float32",
    )
    return RunFolder.open(path)


@pytest.fixture
def splinegeo(program):
    return partial(program, "robustness")


def test_the_command_measures_and_remembers(
    splinegeo, run: RunFolder, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch
):
    code, out, _ = splinegeo(
        run.path, "--checkpoint", "0, final", "--samples", 32, "--epsilon", "8/255", "--noise", 0.2
    )
    assert code == 0
    header, _, first, last = out.splitlines()[1:5]
    assert "under apgd-ce" in header
    data = mnist.first(256, 32).to(CPU, torch.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 24, bias=False), nn.ReLU(), nn.Linear(24, 10, bias=False))
    model.load_state_dict(run.load_checkpoint("final").weights)
    expected = (
        accuracy_and_loss(model, data.x_test, data.y_test, squared_error)[0],
        robust_accuracy(model, data, squared_error, 0.2),
        attacked_accuracy(model, data, epsilon=8 / 255),
    )
    assert last.split() == ["12", *(f"{value:.1%}" for value in expected)]
    assert first.split()[0] == "0"

    # Measured once: neither the command nor a figure attacks again.
    monkeypatch.setattr(robustness_module, "attacked_accuracy", lambda *_, **__: pytest.fail("attacked again"))
    assert (
        splinegeo(*(run.path, "--checkpoint", "final", "--samples", 32, "--epsilon", "8/255", "--noise", 0.2))[1]
        .splitlines()[3]
        .split()
        == last.split()
    )
    (entry,) = measured(run, data, [12], RobustnessSettings(epsilon=8 / 255, noise=0.2, n_samples=32))
    assert entry["attacked_accuracy"] == expected[2]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--epsilon", "four"], 2, "--epsilon takes a number such as 0.0157"),
        (["--epsilon", "1/0"], 2, "--epsilon takes a number such as 0.0157"),
        (["--noise", "much"], 2, "--noise takes a number such as 0.3"),
        (["--noise", "0.1,-1"], 2, "--noise takes no negative deviation, got 0.1,-1"),
        (["--picture", "r.jpg"], 2, "--picture must end in .png, .pdf or .svg, got r.jpg"),
        (["--attack", "fgsm"], 2, "splinegeo: attack must be one of apgd-ce, standard"),
        (["--space", "log"], 2, "splinegeo: space must be one of"),
        (["--samples", "49"], 1, "49 test samples asked, embedded MNIST has 48"),
        (["--checkpoint", "5"], 1, "has no checkpoint '5': there are 0, 1, 10, 12 (final)"),
    ],
)
def test_refusals_are_one_line(splinegeo, run: RunFolder, arguments: list[str], code: int, message: str):
    found, _, err = splinegeo(run.path, *arguments)
    assert found == code
    assert message in err


def test_amplitudes_are_swept_and_drawn(
    splinegeo, run: RunFolder, mnist: LabelledImages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    drawn = []
    real = robustness_figure.robustness_figure
    monkeypatch.setattr(robustness_figure, "robustness_figure", lambda *given: drawn.append(real(*given)) or drawn[-1])
    picture = tmp_path / "robustness.png"
    options = ("--checkpoint", "0,final", "--samples", 16, "--noise", "0.1,0.4", "--epsilon", "2/255,8/255")
    code, out, err = splinegeo(run.path, *options, "--picture", picture)
    assert (code, picture.read_bytes()[:4]) == (0, b"\x89PNG"), err
    data = mnist.first(256, 16).to(CPU, torch.float32)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 24, bias=False), nn.ReLU(), nn.Linear(24, 10, bias=False))
    model.load_state_dict(run.load_checkpoint("final").weights)
    clean = accuracy_and_loss(model, data.x_test, data.y_test, squared_error)[0]
    noisy = [robust_accuracy(model, data, squared_error, deviation) for deviation in (0.1, 0.4)]
    attacked = [attacked_accuracy(model, data, epsilon=radius / 255) for radius in (2, 8)]
    last = out.splitlines()[4].split()
    assert last == ["12", *(f"{value:.1%}" for value in (clean, *noisy, *attacked))]
    (figure,) = drawn
    for ax, positions, values in zip(figure.axes, ([0, 0.1, 0.4], [0, 2, 8]), (noisy, attacked), strict=True):
        line = ax.lines[1]
        np.testing.assert_allclose(line.get_xdata(), positions)
        np.testing.assert_allclose(line.get_ydata(), [clean, *values])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["epoch 0", "epoch 12 (final)"]

    # Nothing is measured twice, in whatever combination it is asked for.
    for name in ("attacked_accuracy", "robust_accuracy", "accuracy_and_loss"):
        monkeypatch.setattr(robustness_module, name, lambda *_, **__: pytest.fail("measured again"))
    (entry,) = measured(run, data, [12], RobustnessSettings(epsilon=8 / 255, noise=0.4, n_samples=16))
    assert (entry["accuracy"], entry["noisy_accuracy"], entry["attacked_accuracy"]) == (clean, noisy[1], attacked[1])


def test_a_damaged_file_is_named(splinegeo, run: RunFolder, tmp_path: Path):
    path = run.path / "robustness.jsonl"
    before = path.read_bytes() if path.exists() else None
    path.write_bytes(b'{"epoch": 1\n')
    code, _, err = splinegeo(run.path, "--samples", 8)
    assert (code, err.split(": ", 1)[1]) == (1, f"{path} is damaged: delete it, it is measured anew")
    path.unlink() if before is None else path.write_bytes(before)


def test_the_papers_epsilon():
    assert EPSILON == 4 / 255
    assert RobustnessSettings().description == "apgd-ce, ε = 4/255 in pixels on [0, 1]"
