"""The errors of the geometry library: typed, also a builtin error, one line that says what was wrong and what to do."""

import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import IDENTITY_PLANE, mlp
from torch import nn

import splinegeo as sg
from splinegeo import errors

BOX = sg.Box(1.0)
BUILTIN = {
    "DegenerateSliceError": ValueError,
    "InvalidDomainError": ValueError,
    "ShapeError": ValueError,
    "InvalidNetworkError": ValueError,
    "UnsupportedModuleError": TypeError,
    "PartitionFileError": ValueError,
}


def partition() -> sg.Partition:
    return sg.enumerate_regions(mlp((2, 6, 2), bias=True), IDENTITY_PLANE, BOX)


def with_nan(model: nn.Sequential) -> nn.Sequential:
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    return model


class OfTwo(nn.Linear):
    """A layer of a user's own, with two inputs."""

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return super().forward(x + y)


def points(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows)


# what is done, the error, what was wrong, what to do or what would be right
BAD_INPUT: dict[str, tuple[Callable[[], object], type[Exception], str, str]] = {
    "points on a line": (
        lambda: sg.Slice.through_points(points((0, 0, 0), (1, 1, 1), (2, 2, 2))),
        sg.DegenerateSliceError,
        "on one line",
        "choose points",
    ),
    "NaN points": (
        lambda: sg.Slice.through_points(points((0, 0, 0), (1, np.nan, 1), (2, 2, 2))),
        sg.SplineGeoError,
        "NaN",
        "must be finite",
    ),
    "two points": (lambda: sg.Slice.through_points(np.eye(2)), sg.ShapeError, r"\(2, 2\)", r"three points, \(3,"),
    "oblique basis": (
        lambda: sg.Slice(np.zeros(2), np.ones((2, 2))),
        sg.DegenerateSliceError,
        "orthonormal",
        "Slice.through_points",
    ),
    "basis of three rows": (lambda: sg.Slice(np.zeros(3), np.eye(3)), sg.ShapeError, r"has \(3, 3\)", r"\(2, 3\)"),
    "wrong inputs": (lambda: IDENTITY_PLANE.project(np.zeros((4, 3))), sg.ShapeError, r"\(4, 3\)", r"\(n, 2\)"),
    "wrong coordinates": (lambda: IDENTITY_PLANE.lift(np.zeros(2)), sg.ShapeError, r"\(2,\)", r"\(n, 2\)"),
    "wrong query": (lambda: partition().locate(np.zeros((4, 3))), sg.ShapeError, r"\(4, 3\)", r"\(n, 2\)"),
    "empty domain": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, points((0, 0), (1, 1), (2, 2))),
        sg.InvalidDomainError,
        "empty",
        "area",
    ),
    "dented domain": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, points((0, 0), (4, 0), (1, 1), (0, 4))),
        sg.InvalidDomainError,
        "convex",
        "turns all go one way",
    ),
    "domain of two corners": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, points((0, 0), (1, 0))),
        sg.InvalidDomainError,
        r"\(2, 2\)",
        "Box or a convex polygon",
    ),
    "no domain": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE),
        sg.InvalidDomainError,
        "no points",
        r"Box\(half_width=",
    ),
    "box of no width": (lambda: sg.Box(0.0), sg.InvalidDomainError, r"not 0\.0", "positive finite half_width"),
    "NaN weights": (
        lambda: sg.enumerate_regions(with_nan(mlp((2, 3, 2))), IDENTITY_PLANE, BOX),
        sg.InvalidNetworkError,
        "NaN or infinite",
        "'0'",
    ),
    "GELU": (
        lambda: sg.enumerate_regions(nn.Sequential(nn.Linear(2, 3), nn.GELU()), IDENTITY_PLANE, BOX),
        sg.UnsupportedModuleError,
        r"'1' \(GELU\)",
        "readable are Linear",
    ),
    "no module": (
        lambda: sg.enumerate_regions(np.eye(2), IDENTITY_PLANE, BOX),
        sg.UnsupportedModuleError,
        "ndarray",
        r"must be a torch\.nn\.Module",
    ),
    "layers that do not fit": (
        lambda: sg.enumerate_regions(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(4, 2)), IDENTITY_PLANE, BOX),
        sg.InvalidNetworkError,
        "'2'",
        "4 inputs",
    ),
    "another input size": (
        lambda: sg.enumerate_regions(mlp((5, 3, 2)), IDENTITY_PLANE, BOX),
        sg.ShapeError,
        "takes 5 inputs",
        "2",
    ),
    "no such region": (lambda: partition().pattern(99), IndexError, "region 99", "there are"),
    "no such regions": (lambda: partition().centroids([99]), IndexError, "99", r"must lie in 0\.\."),
    "no such norm": (
        lambda: partition().operator_norms("nuclear"),
        ValueError,
        "'nuclear'",
        "'frobenius' or 'spectral'",
    ),
    "no such space": (
        lambda: partition().operator_norms(space="output"),
        ValueError,
        "'output'",
        "'input' or 'slice'",
    ),
    "no region at all": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, max_regions=0),
        ValueError,
        "not 0",
        "at least 1",
    ),
    "a plane that is no slice": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), torch.eye(2), BOX),
        sg.InvalidArgumentError,
        "Tensor",
        r"Slice\.through_points",
    ),
    "no whole number of regions": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, max_regions=2.5),
        sg.InvalidArgumentError,
        r"not 2\.5",
        "whole number, at least 1",
    ),
    "a truth value for a number": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, max_regions=True),
        sg.InvalidArgumentError,
        "not True",
        "whole number, at least 1",
    ),
    "a time in words": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, time_limit="1 s"),  # type: ignore[arg-type]
        sg.InvalidArgumentError,
        "not '1 s'",
        "seconds",
    ),
    "no thread": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, threads=0),
        sg.InvalidArgumentError,
        "threads",
        "at least 1",
    ),
    "no time": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, BOX, time_limit=-1.0),
        sg.InvalidArgumentError,
        "not -1",
        "seconds",
    ),
    "no weights": (
        lambda: sg.enumerate_regions(nn.Sequential(nn.Linear(2, 3, device="meta")), IDENTITY_PLANE, BOX),
        sg.InvalidNetworkError,
        "layer '0' is on the meta device",
        "load them first",
    ),
    "two inputs": (
        lambda: sg.enumerate_regions(OfTwo(2, 3), IDENTITY_PLANE, BOX),
        sg.UnsupportedModuleError,
        r"takes 2 inputs \(x, y\)",
        "one tensor",
    ),
    "points of two shapes": (
        lambda: sg.Slice.through_points([torch.zeros(4), torch.ones(4), torch.zeros(3)]),
        sg.ShapeError,
        "points of a slice",
        "of one shape",
    ),
    "complex points": (
        lambda: sg.Slice.through_points(1j * torch.eye(3)),
        sg.ShapeError,
        "points of a slice",
        "real numbers",
    ),
    "no points": (lambda: sg.Slice.through_points(None), sg.ShapeError, "points of a slice", "an array or a tensor"),
    "box of text": (lambda: sg.Box("3"), sg.InvalidDomainError, "not '3'", "positive finite half_width"),
    "box about one number": (
        lambda: sg.Box(1.0, (2.0,)),
        sg.InvalidDomainError,
        r"not \(2\.0,\)",
        "two finite slice coordinates",
    ),
    "boundless box": (
        lambda: sg.enumerate_regions(mlp((2, 3, 2)), IDENTITY_PLANE, sg.Box(1e200)),
        sg.InvalidDomainError,
        "corners",
        r"within 1e\+100",
    ),
    "norms that are words": (lambda: partition().recall_norms(["low"] * 3), sg.ShapeError, "norms", "real numbers"),
    "half a region": (lambda: partition().affine_map(0.5), sg.InvalidArgumentError, r"not 0\.5", "whole number"),
    "one disc for several": (
        lambda: partition().local_complexity([0.0, 0.0], radius=1.0),
        sg.ShapeError,
        r"shape is \(2,\)",
        r"\(n, 2\)",
    ),
    "alignment of one input": (
        lambda: sg.alignment(mlp((2, 3, 2)), torch.zeros(2)),
        sg.ShapeError,
        r"shape \(2,\)",
        r"\(n, \*input_shape\)",
    ),
    "alignment of an array": (
        lambda: sg.alignment(mlp((2, 3, 2)), np.zeros((3, 2))),
        sg.InvalidArgumentError,
        "ndarray",
        r"torch\.as_tensor",
    ),
    "alignment of no module": (
        lambda: sg.alignment(lambda x: x, torch.zeros(3, 2)),
        sg.UnsupportedModuleError,
        "function",
        r"must be a torch\.nn\.Module",
    ),
    "GrokAlign of no module": (
        lambda: sg.GrokAlign(None),
        sg.UnsupportedModuleError,
        "NoneType",
        r"must be a torch\.nn\.Module",
    ),
    "a coefficient in words": (
        lambda: sg.GrokAlign(mlp((2, 3, 2)), coefficient="much"),
        sg.InvalidArgumentError,
        "coefficient is much",
        "finite number that is not negative",
    ),
    "no partition file": (
        lambda: sg.load_partition(Path(__file__)),
        sg.PartitionFileError,
        "test_errors.py",
        "partition file",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_bad_input_gets_one_line_that_says_what_was_wrong_and_what_is_right(name: str) -> None:
    act, error, wrong, right = BAD_INPUT[name]
    with pytest.raises(error, match=wrong) as caught:
        act()
    message = str(caught.value)
    assert "\n" not in message
    assert 20 <= len(message) <= 400
    assert message == message.strip()
    with pytest.raises(error, match=right):
        act()


DEFINED = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__
}


@pytest.mark.parametrize("name", sorted(DEFINED.keys() - {"SplineGeoError"}))
def test_every_error_is_public_and_also_a_builtin_one(name: str) -> None:
    error = DEFINED[name]
    assert getattr(sg, name) is error
    assert issubclass(error, sg.SplineGeoError)
    builtin = [base for base in error.__mro__ if base.__module__ == "builtins" and issubclass(base, Exception)]
    assert BUILTIN.get(name, builtin[0]) in builtin
    assert builtin[0] is not Exception
    assert error.__doc__


def test_the_errors_of_bad_input_exist() -> None:
    assert BUILTIN.keys() < DEFINED.keys()


def test_one_except_catches_what_splinegeo_raises() -> None:
    for name in ("points on a line", "empty domain", "NaN weights", "GELU", "another input size", "no partition file"):
        with pytest.raises(sg.SplineGeoError):
            BAD_INPUT[name][0]()


def test_points_with_gradients_are_points() -> None:
    points = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    plane = sg.Slice.through_points(points)
    for same in (points.clone().requires_grad_(), [point.clone().requires_grad_() for point in points]):
        np.testing.assert_array_equal(sg.Slice.through_points(same).basis, plane.basis)
