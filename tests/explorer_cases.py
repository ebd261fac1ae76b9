"""Networks, partitions and sources that the tests of the explorer share."""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

import splinegeo as sg
from viz.explorer_samples import Samples
from viz.explorer_slices import SliceChoice, through_samples
from viz.explorer_source import Growth, Moment
from viz.explorer_window import Window


def network(seed: int, n_inputs: int = 16, widths: Sequence[int] = (12, 12), n_outputs: int = 4) -> nn.Sequential:
    """A small ReLU network with biases, float64."""
    generator = torch.Generator().manual_seed(seed)
    layers: list[nn.Module] = []
    sizes = [n_inputs, *widths, n_outputs]
    for n_in, n_out in itertools.pairwise(sizes):
        layer = nn.Linear(n_in, n_out, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(torch.randn(n_out, n_in, generator=generator, dtype=torch.float64) / n_in**0.5)
            layer.bias.copy_(0.3 * torch.randn(n_out, generator=generator, dtype=torch.float64))
        layers += [layer, nn.ReLU()]
    return nn.Sequential(nn.Flatten(), *layers[:-1])


def samples(n: int = 40, seed: int = 0) -> Samples:
    """Inputs that are 4 x 4 images, in four classes about different means."""
    generator = np.random.default_rng(seed)
    classes = np.arange(n) % 4
    means = 2 * generator.standard_normal((4, 4, 4))
    return Samples(means[classes] + 0.5 * generator.standard_normal((n, 4, 4)), classes)


@dataclass
class SmallSource:
    """Some networks as moments of a training; remembers for which moments networks were asked, and may be held up."""

    n_moments: int = 6
    is_growing: bool = False
    fails_at: int | None = None
    title: str = "small"
    asked: list[str] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.samples = samples()
        self.first: SliceChoice = through_samples(self.samples, [0, 1, 2])
        self.may_go_on.set()

    @property
    def growth(self) -> Growth:
        """As it was told."""
        return Growth(self.is_growing)

    def moments(self) -> list[Moment]:
        """One moment for each network."""
        return [Moment(str(k), f"epoch {k}", {"train": k / self.n_moments}) for k in range(self.n_moments)]

    def model(self, moment: Moment) -> nn.Sequential:
        """The network of a moment as a module."""
        return network(int(moment.key)).eval()

    def network(self, moment: Moment) -> sg.Network:
        """The network of a moment, once it may go on; impossible, if so made."""
        self.asked.append(moment.key)
        self.threads.add(threading.current_thread().name)
        self.may_go_on.wait(60)
        if moment.key == str(self.fails_at):
            raise sg.InvalidNetworkError(f"the weights at {moment.key} overflow")
        return sg.read_network(self.model(moment), (4, 4))

    def partition(self, moment: Moment, plane: sg.Slice, window: Window) -> sg.Partition | None:
        """None: all are enumerated."""
        return None

    def centroids(self, moment: Moment, x: np.ndarray) -> np.ndarray:
        """By vector-Jacobian products, as a run does."""
        return sg.centroids(self.model(moment), torch.from_numpy(x).reshape(-1, 4, 4)).reshape(len(x), -1).numpy()


def partition(seed: int = 0) -> sg.Partition:
    """The regions of the small network on the slice through three samples."""
    source = SmallSource()
    return sg.enumerate_regions(source.model(Moment(str(seed), "")), source.first.plane)


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Wait for a condition; raises AssertionError when it does not come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)
