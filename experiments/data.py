"""Labelled images held as tensors: the embedded MNIST subset, and MNIST and CIFAR-10 from the user's files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from experiments.cifar10 import Arrays, read_cifar10
from experiments.errors import DataError, one_line
from experiments.settings import DataSettings

MNIST_MEAN = 0.1307
"""Mean of MNIST's training pixels on [0, 1], as the GrokAlign paper's code rounds it."""
MNIST_STD = 0.3081
"""Standard deviation of MNIST's training pixels on [0, 1], as the GrokAlign paper's code rounds it."""
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
"""Mean of CIFAR-10's training pixels on [0, 1] by channel, as the GrokAlign paper's code rounds it."""
CIFAR10_STD = (0.2471, 0.2435, 0.2616)
"""Standard deviation of CIFAR-10's training pixels by channel, as the GrokAlign paper's code rounds it."""

EMBEDDED_MNIST = Path(__file__).parent / "datasets" / "mnist_1024.npz"


@dataclass(frozen=True)
class LabelledImages:
    """Training and test images with labels, normalised as (pixel − mean) / std with pixels on [0, 1].

    `mean` and `std` have one number for each channel.
    """

    name: str
    x_train: Float[Tensor, "n channels height width"]
    y_train: Int64[Tensor, " n"]
    x_test: Float[Tensor, "m channels height width"]
    y_test: Int64[Tensor, " m"]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    n_classes: int

    def pixels(self, x: Float[Tensor, "*n channels height width"]) -> Float[Tensor, "*n channels height width"]:
        """Invert the normalisation: values of the original image on [0, 1]."""
        mean, std = self.normalisation(x)
        return x * std + mean

    def normalisation(self, like: Tensor) -> tuple[Float[Tensor, "channels 1 1"], Float[Tensor, "channels 1 1"]]:
        """Mean and deviation of the pixels by channel, on the device and in the type of a tensor."""
        mean, std = (torch.tensor(values, dtype=like.dtype, device=like.device) for values in (self.mean, self.std))
        return mean[:, None, None], std[:, None, None]

    def to(self, device: torch.device, dtype: torch.dtype) -> LabelledImages:
        """Move everything to a device, the images also to a floating-point type."""
        return replace(
            self,
            x_train=self.x_train.to(device, dtype),
            y_train=self.y_train.to(device),
            x_test=self.x_test.to(device, dtype),
            y_test=self.y_test.to(device),
        )

    def first(self, n_train: int, n_test: int) -> LabelledImages:
        """Keep the first samples of both sets. Raises DataError when there are fewer than asked."""
        for asked, there, what in ((n_train, len(self.x_train), "training"), (n_test, len(self.x_test), "test")):
            if not 1 <= asked <= there:
                raise DataError(f"{asked} {what} samples asked, {self.name} has {there}: ask for 1 to {there}")
        return replace(
            self,
            x_train=self.x_train[:n_train],
            y_train=self.y_train[:n_train],
            x_test=self.x_test[:n_test],
            y_test=self.y_test[:n_test],
        )


def load_data(settings: DataSettings, data_dir: Path, download: bool) -> LabelledImages:
    """Load the samples that settings name; `data_dir` and `download` matter to data sets that are not embedded.

    Raises DataError when data are missing, damaged or fewer than asked.
    """
    if settings.name == "embedded-mnist":
        everything = embedded_mnist()
    elif settings.file is not None:
        path = _located(Path(settings.file), data_dir)
        everything = npz_mnist(path) if settings.name == "mnist" else npz_cifar10(path)
    elif settings.name == "mnist":
        everything = torchvision_mnist(data_dir, download)
    else:
        everything = cifar10(*read_cifar10(data_dir, download))
    return everything.first(settings.n_train, settings.n_test)


def _located(file: Path, data_dir: Path) -> Path:
    """Where a data file is: a run that comes from another machine knows only where it was there."""
    if file.exists():
        return file
    if (data_dir / file.name).is_file():
        return data_dir / file.name
    raise DataError(
        f"there is no data file {file}, nor {data_dir / file.name}: correct --data-file, or give the folder that holds "
        f"{file.name} with --data-dir"
    )


def embedded_mnist(path: Path = EMBEDDED_MNIST) -> LabelledImages:
    """Load the embedded subset: the first 1024 training and test samples of MNIST in their original order, float64.

    These are the samples of arXiv 2506.12284. Raises DataError when the file is missing or damaged.
    """
    if not path.is_file():
        raise DataError(f"{path} is missing: reinstall splinegeo, the file is part of the package")
    try:
        return _mnist("embedded MNIST", *_read_npz(path))
    except DataError as error:
        raise DataError(f"{error}; reinstall splinegeo") from None


def npz_mnist(path: Path) -> LabelledImages:
    """Load MNIST, or a part of it, from an .npz file of x_train, y_train, x_test, y_test: uint8, (n, 28, 28) and (n,).

    Raises DataError when the file is missing, damaged or of other images.
    """
    return _named(path, partial(_mnist, "MNIST"))


def npz_cifar10(path: Path) -> LabelledImages:
    """Load CIFAR-10, or a part of it, from an .npz file as `npz_mnist` does, with images (n, 32, 32, 3)."""
    return _named(path, cifar10)


def cifar10(
    x_train: UInt8[np.ndarray, "n 32 32 3"],
    y_train: Int64[np.ndarray, " n"],
    x_test: UInt8[np.ndarray, "m 32 32 3"],
    y_test: Int64[np.ndarray, " m"],
) -> LabelledImages:
    """CIFAR-10, or a part of it, from arrays. Raises DataError when they are not images of CIFAR-10."""
    return _labelled("CIFAR-10", (32, 32, 3), x_train, y_train, x_test, y_test, CIFAR10_MEAN, CIFAR10_STD)


def _named(path: Path, labelled: Callable[..., LabelledImages]) -> LabelledImages:
    arrays = _read_npz(path)
    try:
        return labelled(*arrays)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


_ARRAYS = ("x_train", "y_train", "x_test", "y_test")


def _read_npz(path: str | Path) -> Arrays:
    try:
        with open(path, "rb") as file:
            # Anything else numpy would take for pickled, and advise to load unsafely.
            if not is_zipfile(file):
                raise DataError(f"{path} is damaged or not an .npz file (it is not a zip archive)")
            file.seek(0)
            with np.load(file, allow_pickle=False) as arrays:
                if lacking := [key for key in _ARRAYS if key not in arrays]:
                    raise DataError(
                        f"{path} is not a data file: it lacks {', '.join(lacking)}; give {', '.join(_ARRAYS)}"
                    )
                x_train, y_train, x_test, y_test = (arrays[key] for key in _ARRAYS)
    except FileNotFoundError:
        raise DataError(f"there is no data file {path}") from None
    except (OSError, ValueError, TypeError, AttributeError, EOFError, BadZipFile) as error:
        raise DataError(f"{path} is damaged or not an .npz file ({one_line(error)})") from None
    return x_train, y_train, x_test, y_test


def torchvision_mnist(data_dir: Path, download: bool = False) -> LabelledImages:
    """Load the 60 000 training and 10 000 test images of MNIST from torchvision's folder layout, float64.

    Fetches the files into `data_dir` only when `download` is set. Raises DataError when torchvision or the files
    are missing, or the download fails.
    """
    try:
        from torchvision.datasets import MNIST
    except ImportError:
        raise DataError("the full MNIST needs torchvision: pip install 'splinegeo[datasets]'") from None
    raw = data_dir / "MNIST" / "raw"
    if (data_dir / "MNIST" / "processed").exists():
        raise DataError(f"{raw.parent / 'processed'} holds pickled files, which are not read: delete that folder")
    try:
        train, test = (MNIST(str(data_dir), train=train, download=download) for train in (True, False))
    except Exception as error:  # torchvision lets errors of sockets, archives and checksums through, of many types
        if raw.exists() and any(raw.glob("*-ubyte")):
            reason = (
                f"MNIST in {raw} is incomplete or damaged ({one_line(error)}): delete that folder and add --download"
            )
        elif download:
            reason = (
                f"MNIST could not be downloaded to {data_dir} ({one_line(error)}): "
                f"check the connection, or put its four IDX files into {raw}"
            )
        else:
            reason = f"there is no MNIST under {data_dir}: add --download to fetch it, or correct --data-dir"
        raise DataError(reason) from None
    return _mnist("MNIST", train.data.numpy(), train.targets.numpy(), test.data.numpy(), test.targets.numpy())


def _mnist(
    name: str,
    x_train: UInt8[np.ndarray, "n 28 28"],
    y_train: Int64[np.ndarray, " n"],
    x_test: UInt8[np.ndarray, "m 28 28"],
    y_test: Int64[np.ndarray, " m"],
) -> LabelledImages:
    return _labelled(name, (28, 28), x_train, y_train, x_test, y_test, (MNIST_MEAN,), (MNIST_STD,))


def _labelled(
    name: str,
    shape: tuple[int, ...],
    x_train: UInt8[np.ndarray, "n ..."],
    y_train: Int64[np.ndarray, " n"],
    x_test: UInt8[np.ndarray, "m ..."],
    y_test: Int64[np.ndarray, " m"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> LabelledImages:
    for images, labels in ((x_train, y_train), (x_test, y_test)):
        fits = labels.ndim == 1 and len(labels) > 0 and labels.dtype.kind in "iu"
        if not fits or images.shape != (len(labels), *shape) or images.dtype != np.uint8:
            raise DataError(
                f"this is not {name.removeprefix('embedded ')}: images of shape {images.shape} and type "
                f"{images.dtype} with labels of shape {labels.shape} and type {labels.dtype}; expected "
                f"(n, {', '.join(map(str, shape))}) uint8 with n labels from 0 to 9"
            )
        if not 0 <= labels.min() <= labels.max() < 10:
            raise DataError(f"there are labels from {labels.min()} to {labels.max()}; expected labels from 0 to 9")

    def normalised(images: UInt8[np.ndarray, "n ..."]) -> Float[Tensor, "n channels height width"]:
        planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        pixels = torch.from_numpy(np.ascontiguousarray(planes)).to(torch.float64) / 255
        centre, scale = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (mean, std))
        return (pixels - centre) / scale

    def as_labels(values: Int64[np.ndarray, " n"]) -> Int64[Tensor, " n"]:
        return torch.from_numpy(values.astype(np.int64))

    return LabelledImages(
        name=name,
        x_train=normalised(x_train),
        y_train=as_labels(y_train),
        x_test=normalised(x_test),
        y_test=as_labels(y_test),
        mean=mean,
        std=std,
        n_classes=10,
    )
