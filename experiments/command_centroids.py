"""`splinegeo centroids`: the centroids of a run's networks at its images, as pictures and as arrays."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from jaxtyping import Float

from experiments.options import DataDir, Device, Download, Threads, set_threads

if TYPE_CHECKING:
    import torch

    from experiments.run_folder import RunFolder

# As many as one pass of the library takes: a streamed data set then draws the same noise as one call would.
_BATCH = 256
# An image alone is enlarged to at least so many pixels a side.
_LEAST_SIDE = 224


@dataclass(frozen=True)
class CentroidKind:
    """Which centroids: of the network or of a component, at the point or averaged over noise about it."""

    component: str | None
    local: bool
    spread: float
    noise_samples: int
    seed: int

    def of_batches(self, model: torch.nn.Module, x: Float[torch.Tensor, "n ..."]) -> Iterator[Float[np.ndarray, ...]]:
        """The centroids of the inputs, batch after batch, as arrays on the CPU; raises as `splinegeo.centroids`."""
        import torch

        import splinegeo as sg

        generator = torch.Generator().manual_seed(self.seed)
        for part in x.split(_BATCH):
            if self.local:
                found = sg.local_centroids(model, part, self.spread, self.noise_samples, self.component, generator)
            else:
                found = sg.centroids(model, part, self.component)
            yield found.cpu().numpy()

    def of(self, model: torch.nn.Module, x: Float[torch.Tensor, "n ..."]) -> Float[np.ndarray, n * image]:
        """The centroids of the inputs; raises as `splinegeo.centroids`."""
        return np.concatenate(list(self.of_batches(model, x)))


def centroids(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, as made by `splinegeo train`.")],
    samples: Annotated[
        str | None,
        typer.Option(help="Images by number: 0,3,7 or 0-31.", show_default="the first that fill the grid"),
    ] = None,
    part: Annotated[str, typer.Option("--set", metavar="train|test", help="Images of which set.")] = "train",
    grid: Annotated[
        str | None,
        typer.Option(metavar="ROWSxCOLUMNS", help="Shape of the grids.", show_default="4x8, or fits samples"),
    ] = None,
    checkpoint: Annotated[
        str | None,
        typer.Option(
            metavar="EPOCH|EVENT,...",
            help="One or several checkpoints, with commas between: epochs, memorised, final or latest.",
            show_default="memorised,final where there are both, else latest",
        ),
    ] = None,
    component: Annotated[
        str | None, typer.Option(help="Centroids of a layer: its name in the network.", show_default="whole network")
    ] = None,
    local: Annotated[bool, typer.Option("--local", help="Mean centroids under Gaussian noise on the image.")] = False,
    spread: Annotated[float, typer.Option(help="Noise of --local, in widths of the image's range of values.")] = 0.15,
    noise_samples: Annotated[int, typer.Option(min=1, help="Noisy images that --local averages over.")] = 30,
    scale: Annotated[
        str, typer.Option(metavar="panel|shared|image", help="Colour scale: of each checkpoint, of all, of each image.")
    ] = "panel",
    theme: Annotated[str, typer.Option(metavar="light|dark", help="Paper of the picture.")] = "light",
    out: Annotated[
        Path | None, typer.Option(help="Picture: .png, .pdf or .svg.", show_default="RUN/centroids.png")
    ] = None,
    each: Annotated[
        Path | None, typer.Option(help="Folder for each image alone, as .png and .npy.", show_default="none")
    ] = None,
    array: Annotated[
        Path | None,
        typer.Option(
            help="File (.npy) for the centroids of the whole set; several checkpoints get one file each.",
            show_default="none",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the noise of --local.")] = 0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Draw training images and their centroids side by side, for one or several checkpoints of a run.

    The centroid of an image is the sum of the rows of the network's Jacobian there: the site of its region in the power
    diagram. In an aligned network it looks like the image.
    """
    set_threads(threads)
    import torch

    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.run_model import load_model

    picture = run / "centroids.png" if out is None else out
    _check_suffixes(picture, array, scale, part)
    folder = RunFolder.open(run)
    shape = None if grid is None else _grid(grid)
    dtype = getattr(torch, folder.settings.training.dtype)
    names = [name.strip() for name in checkpoint.split(",")] if checkpoint else _default_checkpoints(folder)
    epochs = [_epoch_and_events(folder, name) for name in names]
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), dtype)
    x_all = images.x_train if part == "train" else images.x_test
    indices = _indices(samples, len(x_all), shape)
    shape = _fitting_grid(len(indices), samples, shape)
    x = x_all[indices]
    kind = CentroidKind(component, local, spread, noise_samples, seed)
    found = []
    for name, (epoch, _) in zip(names, epochs, strict=True):
        model = load_model(folder, name, images)
        found.append(kind.of(model, x))
        if array is not None:
            target = array if len(names) == 1 else array.with_stem(f"{array.stem}_epoch_{epoch:06d}")
            print(f"array: {stream_centroids(target, kind, model, x_all)}")
    titles = [f"epoch {epoch}" + (f" ({', '.join(events)})" if events else "") for epoch, events in epochs]
    what = f"{'training' if part == 'train' else 'test'} images"
    print(f"picture: {_draw(picture, x.cpu().numpy(), found, titles, shape, what, scale, theme)}")
    if each is not None:
        count = _write_each(each, x.cpu().numpy(), found, [epoch for epoch, _ in epochs], indices)
        print(f"images alone: {count} as .png and .npy in {each}")


def stream_centroids(path: Path, kind: CentroidKind, model: torch.nn.Module, x: Float[torch.Tensor, "n ..."]) -> Path:
    """Write the centroids of all inputs into one .npy file that `numpy.load(..., mmap_mode="r")` maps.

    Only a batch is held in memory; the file takes its name when it is complete. Raises OSError as the disk does, and
    the errors of `splinegeo.centroids`.
    """
    from numpy.lib.format import open_memmap
    from tqdm import tqdm

    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    dtype = x[:1].cpu().numpy().dtype
    try:
        mapped = open_memmap(temporary, mode="w+", dtype=dtype, shape=tuple(x.shape))
        begin = 0
        with tqdm(total=len(x), unit=" images", desc="centroids", leave=False) as bar:
            for batch in kind.of_batches(model, x):
                mapped[begin : begin + len(batch)] = batch
                begin += len(batch)
                bar.update(len(batch))
        mapped.flush()
        del mapped
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def _check_suffixes(picture: Path, array: Path | None, scale: str, part: str) -> None:
    if picture.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--out must end in .png, .pdf or .svg, got {picture}")
    if array is not None and array.suffix != ".npy":
        raise typer.BadParameter(f"--array must end in .npy, got {array}")
    if scale not in ("panel", "shared", "image"):
        raise typer.BadParameter(f"--scale must be panel, shared or image, got {scale!r}")
    if part not in ("train", "test"):
        raise typer.BadParameter(f"--set must be train or test, got {part!r}")


def _default_checkpoints(folder: RunFolder) -> list[str]:
    events = {event for events in folder.checkpoints().values() for event in events}
    return ["memorised", "final"] if {"memorised", "final"} <= events else ["latest"]


def _epoch_and_events(folder: RunFolder, name: str) -> tuple[int, list[str]]:
    from experiments.checkpoint import read_description

    description = read_description(folder.locate_checkpoint(name))
    return description["epoch"], description["events"]


def _grid(text: str) -> tuple[int, int]:
    rows, _, columns = text.lower().replace("×", "x").partition("x")
    if not (rows.isdecimal() and columns.isdecimal() and int(rows) and int(columns)):
        raise typer.BadParameter(f"--grid takes rows and columns, such as 4x8; got {text!r}")
    return int(rows), int(columns)


def _indices(samples: str | None, n: int, grid: tuple[int, int] | None) -> list[int]:
    if samples is None:
        rows, columns = grid or (4, 8)
        return list(range(min(n, rows * columns)))
    indices: list[int] = []
    for entry in samples.split(","):
        first, dash, last = entry.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise typer.BadParameter(f"--samples takes numbers and ranges, such as 0,3,7 or 0-31; got {samples!r}")
        end = int(last) if dash else int(first)
        if end >= n:
            raise typer.BadParameter(f"--samples: there is no image {end}, the set has 0 to {n - 1}")
        indices.extend(range(int(first), end + 1))
    if not indices:
        raise typer.BadParameter(f"--samples names no image: {samples!r}")
    return indices


def _fitting_grid(count: int, samples: str | None, grid: tuple[int, int] | None) -> tuple[int, int]:
    if grid is None:
        columns = 8 if samples is None else min(8, int(np.ceil(np.sqrt(2 * count))), count)
        return -(-count // columns), columns
    if grid[0] * grid[1] < count:
        raise typer.BadParameter(f"--grid {grid[0]}x{grid[1]} has no room for {count} samples")
    return grid


def _draw(
    path: Path,
    x: Float[np.ndarray, k * image],
    found: list[Float[np.ndarray, k * image]],
    titles: list[str],
    grid: tuple[int, int],
    what: str,
    scale: str,
    theme: str,
) -> Path:
    from viz.centroids import CentroidPanel, centroid_grid
    from viz.saving import save_figure
    from viz.style import style

    panels = []
    for values, title in zip(found, titles, strict=True):
        norms = np.linalg.norm(values.reshape(len(values), -1), axis=1)
        lengths = norms * np.linalg.norm(x.reshape(len(x), -1), axis=1)
        products = (x * values).reshape(len(x), -1).sum(axis=1)
        cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
        about = f"alignment {cosines.mean():.2f} · norm {norms.mean():.2g}".replace("-", "−")
        panels.append(CentroidPanel(values, title, about))
    path.parent.mkdir(parents=True, exist_ok=True)
    with style(theme):
        figure = centroid_grid(x, panels, grid, title=what, scale=scale)
        (written,) = save_figure(figure, path.with_suffix(""), [path.suffix.removeprefix(".")])
    return written


def _write_each(
    folder: Path,
    x: Float[np.ndarray, k * image],
    found: list[Float[np.ndarray, k * image]],
    epochs: list[int],
    indices: list[int],
) -> int:
    from viz.centroids import centroid_colors
    from viz.images import image_array

    folder.mkdir(parents=True, exist_ok=True)
    pictures = np.rint(255 * image_array(x)).astype(np.uint8)
    for index, values, picture in zip(indices, x, pictures, strict=True):
        _write_image(folder / f"image_{index:05d}", values, picture)
    for epoch, centroids_of_epoch in zip(epochs, found, strict=True):
        colors = centroid_colors(centroids_of_epoch)
        for index, values, picture in zip(indices, centroids_of_epoch, colors, strict=True):
            _write_image(folder / f"centroid_{index:05d}_epoch_{epoch:06d}", values, picture)
    return len(indices) * (1 + len(epochs))


def _write_image(stem: Path, values: Float[np.ndarray, "*image"], picture: np.ndarray) -> None:
    from PIL import Image

    from splinegeo.atomic import write_atomically

    factor = max(1, -(-_LEAST_SIDE // min(picture.shape[:2])))
    enlarged = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    content = io.BytesIO()
    Image.fromarray(enlarged).save(content, format="png")
    write_atomically(stem.with_name(stem.name + ".png"), content.getvalue())
    content = io.BytesIO()
    np.save(content, values, allow_pickle=False)
    write_atomically(stem.with_name(stem.name + ".npy"), content.getvalue())
