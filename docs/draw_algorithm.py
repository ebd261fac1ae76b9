"""Draws the pictures of docs/algorithm.md: `python docs/draw_algorithm.py` writes them to docs/images."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import splinegeo as sg
from viz import plot_regions, style

IMAGES = Path(__file__).parent / "images"


def small_network() -> nn.Sequential:
    """A biased 2-8-7-6-1 network whose regions are large enough to see."""
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 6), nn.ReLU(), nn.Linear(6, 1)
    )


def draw_stages(path: Path) -> None:
    """The mesh after each stage, edges in the colour of the stage that drew them."""
    model = small_network()
    plane = sg.Slice(np.zeros(2), np.eye(2))
    with style("light"):
        figure, axes = plt.subplots(1, 4, figsize=(7.2, 2.15), layout="constrained")
        for depth, ax in enumerate(axes):
            prefix = model[: 2 * depth] if depth else nn.Sequential(nn.Linear(2, 2))
            part = sg.enumerate_regions(prefix, plane, sg.Box(2.0))
            plot_regions(part, ax=ax, edges="stage", scale_bar=False)
            title = "The domain" if depth == 0 else f"Stage {depth}"
            ax.set_title(f"{title}: {part.n_regions} region{'s' if part.n_regions > 1 else ''}")
        figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)


def draw_split(path: Path) -> None:
    """One face split along its chords, one after the other."""
    corners = np.array([[0.0, 0.0], [2.2, -0.25], [3.1, 1.1], [2.2, 2.3], [0.5, 2.1], [-0.4, 1.0]])
    lines = [((0.2, -1.0), (1.9, 3.0)), ((-1.0, 0.7), (4.0, 1.9)), ((2.45, -1.0), (0.5, 3.0))]
    weights, biases = [], []
    for (ax_, ay), (bx, by) in lines:
        normal = np.array([ay - by, bx - ax_])
        weights.append(normal)
        biases.append(-normal @ np.array([ax_, ay]))
    titles = ["The face, its edges cut", "Split along one chord", "Its parts split in turn", "No unit crosses any part"]
    plane = sg.Slice(np.zeros(2), np.eye(2))
    with style("light"):
        figure, axes = plt.subplots(1, 4, figsize=(7.2, 1.65), layout="constrained")
        for k, (ax, title) in enumerate(zip(axes, titles, strict=True)):
            layer = nn.Linear(2, max(k, 1), dtype=torch.float64)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(np.array(weights[: max(k, 1)])) if k else torch.zeros(1, 2))
                layer.bias.copy_(torch.from_numpy(np.array(biases[: max(k, 1)])) if k else torch.ones(1))
            part = sg.enumerate_regions(nn.Sequential(layer, nn.ReLU()), plane, corners)
            plot_regions(part, np.arange(part.n_regions), ax=ax, cmap="Pastel1", edges="#1b1c24", scale_bar=False)
            for normal, bias in list(zip(weights, biases, strict=True))[k:]:
                ends = _crossings(corners, normal, bias)
                ax.plot(*ends.T, ":", color="#666a76", linewidth=0.9)
            marks = np.concatenate([_crossings(corners, n, b) for n, b in zip(weights, biases, strict=True)])
            ax.plot(*marks.T, "o", color="#d55e00", markersize=3)
            ax.plot(*part.vertices.T, "o", color="#1b1c24", markersize=2.2)
            ax.set(xlim=(-0.6, 3.3), ylim=(-0.45, 2.5))
            ax.set_axis_off()
            ax.set_title(title, fontsize=8)
        figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)


def _crossings(corners: np.ndarray, normal: np.ndarray, bias: float) -> np.ndarray:
    z = corners @ normal + bias
    following = np.roll(z, -1)
    cut = np.nonzero(z * following < 0)[0]
    s = (z / (z - following))[cut, None]
    return (1 - s) * corners[cut] + s * np.roll(corners, -1, axis=0)[cut]


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_stages(IMAGES / "stages.png")
    draw_split(IMAGES / "split.png")
