"""The networks that the experiments train."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import nn

from experiments.errors import SettingsError


def mlp(
    input_shape: Sequence[int],
    n_outputs: int,
    *,
    hidden_widths: Sequence[int] = (196, 196, 196),
    bias: bool = False,
    initial_scale: float = 1.0,
    seed: int = 0,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Build a ReLU network (n, *input_shape) -> (n, n_outputs): Flatten, then Linear layers with ReLU between them.

    The default widths without biases are the network of arXiv 2506.12284. Weights are torch's default for Linear after
    `torch.manual_seed(seed)`, times `initial_scale`; they are drawn on the CPU in float32, so that every device and
    type starts from the same network, and torch's global generator is left as it was.
    Raises SettingsError for a width below 1 or a scale that is not positive and finite.
    """
    widths = (math.prod(input_shape), *hidden_widths, n_outputs)
    if min(widths) < 1:
        raise SettingsError(f"layer widths must be at least 1, got {list(widths)}")
    if not (initial_scale > 0 and math.isfinite(initial_scale)):
        raise SettingsError(f"the scale of the initial weights must be positive and finite, got {initial_scale}")
    layers: list[nn.Module] = [nn.Flatten()]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for index, (n_in, n_out) in enumerate(itertools.pairwise(widths)):
            if index > 0:
                layers.append(nn.ReLU())
            layers.append(nn.Linear(n_in, n_out, bias=bias, dtype=torch.float32))
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(initial_scale)
    return model.to(device=device, dtype=dtype)
