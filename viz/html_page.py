"""Partitions as one self-contained HTML page: it loads nothing, and its security policy forbids it to."""

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.colors import Colormap, LogNorm, to_hex

from splinegeo import Partition
from splinegeo.atomic import write_atomically
from viz.centroids import DIVERGING, HIGHEST_QUANTILE
from viz.color_scale import shared_norm
from viz.colormaps import DUSK
from viz.errors import DrawingError
from viz.html_codec import floats, packed
from viz.html_frame import VALUES, EncodedFrame, PageFrame, domain_square, encode_frame
from viz.marks import CENTROID_COLOR, OUTLINE_COLOR, POINT_COLOR
from viz.region_colors import category_colors
from viz.style import THEMES

_SCRIPTS = (
    "decode.js",
    "network.js",
    "mesh.js",
    "colors.js",
    "view.js",
    "edges.js",
    "draw_gl.js",
    "draw_canvas.js",
    "overlay.js",
    "pictures.js",
    "panel.js",
    "input.js",
    "page.js",
)
_MAX_IMAGE_BYTES = 16_000_000
_POINTS_MARKED = 10


@dataclass(frozen=True, eq=False)
class PageImages:
    """Inputs among which the page shows the one nearest to a click, with a label for each.

    Stored in 256 steps from the least to the greatest value: exact for images of bytes.
    """

    inputs: Float[np.ndarray, "n *input"]
    labels: Sequence[str]
    name: str = "data point"


@dataclass(frozen=True)
class PageReport:
    """What was written: bytes of the whole file, and for each frame its regions and its bytes in the file."""

    path: Path
    total_bytes: int
    regions: tuple[int, ...]
    frame_bytes: tuple[int, ...]


def write_page(
    path: Path,
    frames: Iterable[PageFrame],
    *,
    title: str,
    point_labels: Sequence[str] = (),
    images: PageImages | None = None,
    image_shape: Sequence[int] | None = None,
) -> PageReport:
    """Write partitions of one slice and domain as a page to pan, zoom, step through and click, in one file.

    Args:
        path: the file, which appears whole or not at all.
        frames: taken one after another, so that they need not be in memory together.
        title: what stands on top.
        point_labels: one for each point that the slice goes through; default: their numbers.
        images: inputs to compare with; default: the points that the slice goes through.
        image_shape: (height, width) or (channels, height, width) of an input that is an image; default: the slice's
            input shape where that is one. Else no images are shown.

    Raises `DrawingError` if there is no frame, if frames differ in slice or domain, or if labels, images and shapes do
    not fit; OSError as the disk does.
    """
    encoded: list[EncodedFrame] = []
    first: Partition | None = None
    for frame in frames:
        first = frame.partition if first is None else first
        _check_same_slice(first, frame)
        encoded.append(encode_frame(frame))
    if first is None:
        raise DrawingError("a page needs at least one partition")
    points = np.empty((0, 2)) if first.plane.points is None else first.plane.points
    labels = list(point_labels) if point_labels else [str(index) for index in range(len(points))]
    if len(labels) != len(points):
        raise DrawingError(f"the slice goes through {len(points)} points, but there are {len(labels)} labels")
    if images is None and len(points):
        images = PageImages(first.plane.lift(points), labels)
    shared, places = _shared_block(first, images)
    low, size = domain_square(first)
    plane = first.plane
    description = {
        "title": title,
        "dimension": len(plane.origin),
        "imageShape": _image_shape(image_shape, plane.input_shape),
        "inputShape": list(plane.input_shape),
        "domain": {"low": low.tolist(), "size": size, "corners": first.domain.tolist()},
        "points": [{"at": at.tolist(), "label": label} for at, label in zip(points, labels, strict=True)][
            :_POINTS_MARKED
        ],
        "shared": {"places": places, **_image_header(images)},
        "scales": {name: _scale([frame.quantiles[name] for frame in encoded]) for name in VALUES},
        "maps": {"values": _table(DUSK), "signed": _table(mpl.colormaps[DIVERGING])},
        "classes": [to_hex(color) for color in category_colors(np.arange(encoded[0].header["outputs"] + 1))],
        "marks": {"point": POINT_COLOR, "centroid": CENTROID_COLOR, "outline": OUTLINE_COLOR},
        "pictureQuantile": HIGHEST_QUANTILE,
        "frames": [frame.header for frame in encoded],
    }
    blocks = [_block("shared", shared), *(_block(f"frame-{i}", frame.content) for i, frame in enumerate(encoded))]
    content = _assemble(title, description, blocks).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    return PageReport(
        path,
        len(content),
        tuple(frame.header["regions"] for frame in encoded),
        tuple(len(frame.content) for frame in encoded),
    )


def _check_same_slice(first: Partition, frame: PageFrame) -> None:
    part = frame.partition
    for what, one, other in (
        ("slice", first.plane.origin, part.plane.origin),
        ("slice", first.plane.basis, part.plane.basis),
        ("domain", first.domain, part.domain),
    ):
        if one.shape != other.shape or not np.allclose(one, other, rtol=1e-9, atol=1e-12):
            raise DrawingError(f"{frame.title!r} has another {what} than the first partition: a page shows one {what}")


def _shared_block(first: Partition, images: PageImages | None) -> tuple[str, dict[str, Any]]:
    plane = first.plane
    sections = {"origin": floats(plane.origin), "basis": floats(plane.basis)}
    if images is not None:
        inputs = np.asarray(images.inputs, dtype=np.float64).reshape(len(images.inputs), -1)
        if inputs.shape[1] != len(plane.origin) or len(images.labels) != len(inputs) or not len(inputs):
            raise DrawingError(
                f"images must be inputs of {len(plane.origin)} numbers with a label each, but have the shape "
                f"{np.shape(images.inputs)} and {len(images.labels)} labels"
            )
        if not np.isfinite(inputs).all():
            raise DrawingError("images must be finite, but hold NaN or infinite values")
        if inputs.size > _MAX_IMAGE_BYTES:
            raise DrawingError(
                f"{len(inputs)} images of {inputs.shape[1]} numbers would take more than "
                f"{_MAX_IMAGE_BYTES // 1_000_000} MB: give fewer"
            )
        low, high = float(inputs.min()), float(inputs.max())
        bytes_of_images = np.rint((inputs - low) * (255.0 / (high - low if high > low else 1.0)))
        sections["images"] = bytes_of_images.astype(np.uint8).tobytes()
    return packed(sections)


def _image_header(images: PageImages | None) -> dict[str, Any]:
    if images is None:
        return {"images": 0}
    values = np.asarray(images.inputs)
    return {
        "images": len(values),
        "low": float(values.min()),
        "high": float(values.max()),
        "labels": list(images.labels),
        "name": images.name,
    }


def _image_shape(asked: Sequence[int] | None, input_shape: tuple[int, ...]) -> list[int] | None:
    """Channels, height and width; None for inputs that are no images. Raises `DrawingError` for a shape that is not."""
    shape = tuple(input_shape) if asked is None else tuple(int(n) for n in asked)
    if asked is not None and int(np.prod(shape)) != int(np.prod(input_shape)):
        raise DrawingError(
            f"an image of shape {shape} does not hold the {int(np.prod(input_shape))} numbers of an input"
        )
    if len(shape) == 2 and min(shape) > 1:
        return [1, *shape]
    if len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1:
        return list(shape)
    if asked is not None:
        raise DrawingError(f"an image has the shape (height, width) or (1 or 3, height, width), not {shape}")
    return None


def _scale(quantiles: list[Float[np.ndarray, " q"]]) -> dict[str, Any]:
    norm = shared_norm(quantiles)
    assert norm.vmin is not None
    assert norm.vmax is not None
    return {"low": float(norm.vmin), "high": float(norm.vmax), "log": isinstance(norm, LogNorm)}


def _table(colormap: Colormap) -> str:
    """256 colours of a map, as hexadecimal digits."""
    return bytes(np.asarray(colormap(np.linspace(0, 1, 256), bytes=True))[:, :3].tobytes()).hex()


def _assemble(title: str, description: dict[str, Any], blocks: list[str]) -> str:
    template, css = _template("page.html"), _theme_rules() + _template("page.css")
    script = "(() => {\n" + "\n".join(_template(name) for name in _SCRIPTS) + "\n})();\n"
    policy = (
        f"default-src 'none'; script-src 'sha256-{_digest(script)}'; style-src 'sha256-{_digest(css)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "title": escape(title),
        "policy": escape(policy),
        "style": css,
        "description": _json(description),
        "blocks": "\n".join(blocks),
        "script": script,
    }
    # One pass: what is put in is not searched again, whatever it holds.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _json(value: object) -> str:
    """JSON that no HTML parser takes for markup."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _block(name: str, content: str) -> str:
    return f'<script type="application/octet-stream" id="{name}">{content}</script>'


def _theme_rules() -> str:
    rules = []
    for name, theme in THEMES.items():
        values = (
            f":root {{ --paper: {theme.paper}; --ink: {theme.ink}; --faint: {theme.faint}; color-scheme: {name}; }}"
        )
        rules.append(values if name == "light" else f"@media (prefers-color-scheme: {name}) {{ {values} }}")
    return "\n".join(rules) + "\n"


def _template(name: str) -> str:
    return (files("viz") / "page" / name).read_text("utf-8")


def _digest(text: str) -> str:
    return b64encode(sha256(text.encode()).digest()).decode("ascii")
