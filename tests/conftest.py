"""Fixtures that several test files share."""

import math
import sys
from collections.abc import Callable, Iterator

import pytest
import torch

from experiments import cli
from experiments.data import LabelledImages, embedded_mnist


@pytest.fixture(scope="session")
def mnist() -> LabelledImages:
    """The embedded 1024 + 1024 samples of MNIST, float64."""
    return embedded_mnist()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Torch on one thread: results then depend on nothing but the program, and small networks train fastest."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def saved_when_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are saved at every moment of logging and between none, however slow the disk and the training are."""
    monkeypatch.setattr("experiments.saving._QUICK_SAVE", math.inf)
    monkeypatch.setattr("experiments.saving.SECONDS_BETWEEN_SAVES", math.inf)


@pytest.fixture
def saved_every_epoch(saved_when_logged: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """States are saved between moments of logging, too."""
    monkeypatch.setattr("experiments.saving.SECONDS_BETWEEN_SAVES", -1.0)


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`splinegeo` with some arguments, in this process: exit code, standard output, and standard error as one line."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["splinegeo", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return int(exit_.value.code or 0), out, " ".join(err.split())

    return call
