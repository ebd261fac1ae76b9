"""Inputs that are images, drawn as the network sees them."""

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from viz.errors import DrawingError


def image_array(images: Float[np.ndarray, "k *image"]) -> Float[np.ndarray, "k h w"] | Float[np.ndarray, "k h w 3"]:
    """Images as grey values (k, h, w) or colours (k, h, w, 3), on one scale: 0 is their least value, 1 their greatest.

    Takes (k, h, w) and (k, channels, h, w) with 1 or 3 channels. Raises `DrawingError` for other shapes and for values
    that are not finite.
    """
    array = np.asarray(images, dtype=np.float64)
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    elif array.ndim == 4 and array.shape[1] == 3:
        array = np.moveaxis(array, 1, -1)
    elif array.ndim != 3:
        raise DrawingError(
            "images must have the shape (k, height, width), or (k, channels, height, width) with 1 or 3 channels, "
            f"not {array.shape}"
        )
    if not np.isfinite(array).all():
        raise DrawingError("images must be finite, but hold NaN or infinite values")
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 1.0)
    return (array - low) / (high - low if high > low else 1.0)


def show_image(ax: Axes, image: Float[np.ndarray, "h w"] | Float[np.ndarray, "h w 3"]) -> None:
    """Draw one image of `image_array`, sharp pixels, in a thin frame."""
    ax.imshow(image, cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(linewidth=0.6, edgecolor=mpl.rcParams["axes.edgecolor"])
