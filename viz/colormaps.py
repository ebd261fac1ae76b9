"""Colour maps made for region plots: uniform steps of perceived difference, lightness that only rises.

They are straight in lightness and smooth in hue and chroma in OKLCH (B. Ottosson, "A perceptual color space for image
processing", 2020), then re-spaced to equal steps in OKLab. As lightness alone orders the colours, the order survives
colour blindness and print in grey.
"""

import numpy as np
from jaxtyping import Float64
from matplotlib.colors import LinearSegmentedColormap
from scipy.interpolate import PchipInterpolator

_STEPS = 256

# Ottosson's matrices: OKLab -> cube roots of cone responses -> linear sRGB.
_LAB_TO_CONES = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_CONES_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def oklab_to_srgb(lab: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """Gamma-encoded sRGB of OKLab colours; colours outside the gamut are clipped."""
    linear = np.clip((lab @ _LAB_TO_CONES.T) ** 3 @ _CONES_TO_RGB.T, 0.0, 1.0)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def srgb_to_oklab(rgb: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """OKLab coordinates of gamma-encoded sRGB colours."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ np.linalg.inv(_CONES_TO_RGB).T) @ np.linalg.inv(_LAB_TO_CONES).T


def _uniform_map(name: str, lightness: list[float], chroma: list[float], hue: list[float]) -> LinearSegmentedColormap:
    knots = np.linspace(0, 1, len(chroma))
    fine = np.linspace(0, 1, 16 * _STEPS)
    c = PchipInterpolator(knots, chroma)(fine)
    h = np.radians(PchipInterpolator(knots, hue)(fine))
    rgb = oklab_to_srgb(np.column_stack([np.interp(fine, [0, 1], lightness), c * np.cos(h), c * np.sin(h)]))
    steps = np.linalg.norm(np.diff(srgb_to_oklab(rgb), axis=0), axis=1)
    travelled = np.concatenate([[0.0], np.cumsum(steps)])
    where = np.linspace(0, travelled[-1], _STEPS)
    spaced = np.column_stack([np.interp(where, travelled, channel) for channel in rgb.T])
    return LinearSegmentedColormap.from_list(name, list(map(tuple, spaced)), N=_STEPS)


# Indigo, rose, cream: saturated in the middle, pale at the top.
DUSK = _uniform_map("dusk", [0.27, 0.955], [0.10, 0.135, 0.145, 0.105, 0.045], [275.0, 320.0, 372.0, 418.0, 455.0])
