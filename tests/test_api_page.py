"""docs/api.md names all that is public, and nothing that is not there; signatures and errors are those of the code."""

import ast
import builtins
import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import splinegeo as sg

PAGE = (Path(__file__).parent.parent / "docs" / "api.md").read_text()
CLASSES = {
    "box": sg.Box,
    "plane": sg.Slice,
    "part": sg.Partition,
    "mesh": sg.Mesh,
    "network": sg.Network,
    "pieces": sg.SegmentPartition,
    "boundary": sg.DecisionBoundary,
    "merged": sg.LinearRegions,
    "diagram": sg.HierarchicalDiagram,
    "blocks": sg.PartitionBlocks,
    "grokalign": sg.GrokAlign,
}
OWNERS = {"sg": sg, **CLASSES}


def entries() -> list[str]:
    """What stands in the first column of the page's tables."""
    rows = [line.split(" | ")[0] for line in PAGE.splitlines() if line.startswith("| `")]
    return [code for row in rows for code in re.findall(r"`([^`]+)`", row)]


def dotted(entry: str) -> str:
    return entry.split("(")[0]


def public_names(owner: object) -> Iterator[str]:
    """What a module or class has that does not begin with an underscore, fields without a default included."""
    fields = [field.name for field in dataclasses.fields(owner)] if dataclasses.is_dataclass(owner) else []
    for name in dict.fromkeys([*fields, *vars(owner)]):
        if not name.startswith("_") and not isinstance(getattr(owner, name, None), ModuleType):
            yield name


def test_every_public_name_is_on_the_page() -> None:
    on_page = {dotted(entry) for entry in entries()}
    on_page |= {f"{prefix}.{name.split('.')[2]}" for name in on_page for prefix in CLASSES if _is_member(name, prefix)}
    public = {f"{prefix}.{name}" for prefix, owner in OWNERS.items() for name in public_names(owner)}
    assert public - on_page == set()


def _is_member(name: str, prefix: str) -> bool:
    """Whether a name such as sg.Slice.through_points is that of a member of the class with this prefix."""
    return name.startswith(f"sg.{CLASSES[prefix].__name__}.")


@pytest.mark.parametrize("entry", entries())
def test_every_name_on_the_page_exists(entry: str) -> None:
    prefix, *names = dotted(entry).split(".")
    found: object = OWNERS[prefix]
    for name in names:
        if dataclasses.is_dataclass(found) and name in [field.name for field in dataclasses.fields(found)]:
            return
        found = getattr(found, name)
    if "(" in entry:
        assert callable(found)
        assert signature_on_page(entry) == signature_of(found, is_method=prefix != "sg")
    else:
        assert inspect.isclass(found) or not callable(found), f"{entry} is called: write it with its arguments"


def signature_on_page(entry: str) -> list[tuple[str, bool, object]]:
    """Name, whether by keyword only, and default of each argument."""
    arguments = ast.parse(f"def f({entry.split('(', 1)[1].removesuffix(')')}): pass").body[0].args  # type: ignore[attr-defined]
    plain = [argument.arg for argument in arguments.args]
    defaults = [inspect.Parameter.empty] * (len(plain) - len(arguments.defaults)) + arguments.defaults
    found = [(name, False, default) for name, default in zip(plain, defaults, strict=True)]
    found += [(a.arg, True, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return [(name, keyword, _value(default)) for name, keyword, default in found]


def _value(default: object) -> object:
    return eval(ast.unparse(default)) if isinstance(default, ast.AST) else default


def signature_of(function: object, is_method: bool) -> list[tuple[str, bool, object]]:
    parameters = list(inspect.signature(function).parameters.values())[is_method:]  # type: ignore[arg-type]
    return [(p.name, p.kind is inspect.Parameter.KEYWORD_ONLY, p.default) for p in parameters]


def test_errors_are_also_the_builtin_ones_that_the_page_says() -> None:
    said = dict(re.findall(r"^\| `sg\.(\w+)` \((\w+)\)", PAGE, flags=re.MULTILINE))
    errors = {name for name in public_names(sg) if inspect.isclass(getattr(sg, name)) and name.endswith("Error")}
    assert errors == {*said, "SplineGeoError"}
    for name, builtin in said.items():
        error = getattr(sg, name)
        assert issubclass(error, sg.SplineGeoError)
        assert issubclass(error, getattr(builtins, builtin))
