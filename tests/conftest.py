"""Fixtures that several test files share."""

from collections.abc import Iterator

import pytest
import torch

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
