"""What compiled loops give back: numbers and tuples of numbers."""

import importlib
import pkgutil

from networks import IDENTITY_PLANE, mlp
from numba import types
from numba.core.dispatcher import Dispatcher

import splinegeo as sg


def test_no_kernel_makes_an_object_of_pythons() -> None:
    """numba makes arrays and named tuples by calls of Python's and does not look whether they raise: where Ctrl-C comes
    just then, the process ends with a fault of memory. Numbers and plain tuples it makes itself.
    """
    part = sg.enumerate_regions(mlp((2, 30, 20, 10, 3), bias=True), IDENTITY_PLANE, sg.Box(2.0), threads=2)
    part.locate(part.interior_points)
    part.operator_norms()
    part.operator_norms("spectral")
    part.local_complexity([(0.0, 0.0)], 0.5)
    part.certify()
    sg.overlap_areas(part, part)
    part.decision_boundary()
    modules = [importlib.import_module(f"splinegeo.{m.name}") for m in pkgutil.iter_modules(sg.__path__)]
    kernels = {f for module in modules for f in vars(module).values() if isinstance(f, Dispatcher)}
    returned = {(f.__name__, s.signature.return_type) for f in kernels for s in f.overloads.values()}
    assert len(returned) > 20
    assert [(name, kind) for name, kind in returned if not is_made_of_numbers(kind)] == []


def is_made_of_numbers(kind: types.Type) -> bool:
    if isinstance(kind, types.BaseNamedTuple):
        return False
    if isinstance(kind, types.BaseTuple):
        return all(is_made_of_numbers(part) for part in kind)
    return isinstance(kind, types.Number | types.Boolean | types.NoneType)


def test_what_is_checked_above_tells_them_apart() -> None:
    assert is_made_of_numbers(types.Tuple((types.boolean, types.int64)))
    assert not is_made_of_numbers(types.Array(types.float64, 1, "C"))
    assert not is_made_of_numbers(types.Tuple((types.int64, types.Array(types.int32, 2, "C"))))
