"""Draws the pictures of docs/algorithm.md: `python docs/draw_algorithm.py` writes them to docs/images."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

import splinegeo as sg
from viz import plot_regions, style

IMAGES = Path(__file__).parent / "images"
FACE = np.array([[0.0, 0.0], [2.2, -0.25], [3.1, 1.1], [2.2, 2.3], [0.5, 2.1], [-0.4, 1.0]])


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


def draw_signs(path: Path) -> None:
    """The signs of three units at one face's corners."""
    units = [((0.9, 0.5), -1.05, "+ and −: it crosses"), ((0.4, -0.9), -0.25, "through a corner: it crosses")]
    units.append(((0.55, 1.0), 0.0, "no −: it does not cross"))
    with style("light"):
        figure, axes = plt.subplots(1, 3, figsize=(5.6, 1.75), layout="constrained")
        for ax, (normal, bias, title) in zip(axes, units, strict=True):
            z = FACE @ normal + bias
            z[np.abs(z) < 0.05] = 0.0
            ends = _line(np.array(normal), bias)
            ax.fill(*FACE.T, facecolor="#f2f2f4", edgecolor="#1b1c24", linewidth=0.9)
            ax.plot(*ends.T, ":", color="#666a76", linewidth=0.9)
            for corner, value in zip(FACE, z, strict=True):
                sign, colour = ("+", "#0072b2") if value > 0 else ("−", "#d55e00") if value < 0 else ("0", "#1b1c24")
                outwards = corner - FACE.mean(axis=0)
                at = corner + 0.24 * outwards / np.linalg.norm(outwards)
                ax.text(*at, sign, color=colour, ha="center", va="center", fontsize=11, fontweight="bold")
            _frame(ax, title)
        figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)


def draw_kinks(path: Path) -> None:
    """Along an edge that a unit crosses: its output bends there, and with it a value of the next stage."""
    s = np.array([0.0, 0.4, 1.0])
    y = np.array([-2.0, 0.0, 3.0])
    h, weight = np.maximum(y, 0.0), -1.2
    z = 1.6 - 1.0 * s + weight * h
    with style("light"):
        figure, axes = plt.subplots(1, 2, figsize=(5.6, 1.9), layout="constrained")
        axes[0].plot(s, y, ":", color="#666a76", linewidth=0.9)
        axes[0].annotate("y", (0.17, y[0] + 0.17 * 5), xytext=(0, -10), textcoords="offset points", color="#666a76")
        titles = "A unit of this stage: σ(y)", "A value of the next stage: z"
        for ax, values, title, name in zip(axes, (h, z), titles, ("κ", "κW"), strict=True):
            ax.plot(s, values, "-o", color="#0072b2", markersize=3)
            ax.plot(s[[0, 2]], values[[0, 2]], "--", color="#1b1c24", linewidth=0.8)
            between = (1 - s[1]) * values[0] + s[1] * values[2]
            ax.annotate("", (s[1], values[1]), (s[1], between), arrowprops={"arrowstyle": "->", "color": "#d55e00"})
            ax.annotate(
                name,
                (s[1], (values[1] + between) / 2),
                xytext=(-6, -3),
                ha="right",
                textcoords="offset points",
                color="#d55e00",
            )
            ax.set_xticks(s, ["u", "x", "w"])
            ax.set_yticks([0.0] if ax is axes[0] else [])
            ax.set_title(title, fontsize=8)
        figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)


def draw_split(path: Path) -> None:
    """One face split along its chords, one after the other."""
    corners = FACE
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
            on_chords = [
                np.linalg.solve([weights[i], weights[j]], [-biases[i], -biases[j]])[None]
                for i in range(k)
                for j in range(i + 1, len(lines))
            ]
            on_edges = [_crossings(corners, n, b) for n, b in zip(weights, biases, strict=True)]
            marks = np.concatenate([*on_edges, *on_chords])
            ax.plot(*marks.T, "o", color="#d55e00", markersize=3)
            ax.plot(*part.vertices.T, "o", color="#1b1c24", markersize=2.2)
            _frame(ax, title)
        figure.savefig(path, dpi=200, bbox_inches="tight", pad_inches=0.05)
        plt.close(figure)


def _line(normal: np.ndarray, bias: float) -> np.ndarray:
    """Two points of a line, outside the face."""
    foot = FACE.mean(axis=0)
    foot = foot - (foot @ normal + bias) / (normal @ normal) * normal
    along = np.array([-normal[1], normal[0]]) / np.linalg.norm(normal)
    return foot + np.array([[-2.0], [2.0]]) * along


def _frame(ax: plt.Axes, title: str) -> None:
    ax.set(xlim=(-0.75, 3.4), ylim=(-0.6, 2.65))
    ax.set_axis_off()
    ax.set_title(title, fontsize=8)


def _crossings(corners: np.ndarray, normal: np.ndarray, bias: float) -> np.ndarray:
    z = corners @ normal + bias
    following = np.roll(z, -1)
    cut = np.nonzero(z * following < 0)[0]
    s = (z / (z - following))[cut, None]
    return (1 - s) * corners[cut] + s * np.roll(corners, -1, axis=0)[cut]


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    draw_stages(IMAGES / "stages.png")
    draw_signs(IMAGES / "signs.png")
    draw_split(IMAGES / "split.png")
    draw_kinks(IMAGES / "kinks.png")
