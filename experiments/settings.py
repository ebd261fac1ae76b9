"""The settings of a run: what is trained, on which data, how. Read from and written to a run folder's config.json."""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from experiments.errors import SettingsError
from experiments.losses import LOSSES

DATA_SETS = ("embedded-mnist", "mnist", "cifar10")
NETWORKS = ("mlp", "cnn")
DTYPES = ("float32", "float64")
METHODS = ("grokalign", "grokfast", "grokfast-ma", "adversarial")
OPTIONAL_METRICS = ("regions",)

S = TypeVar("S")

_DATA_FILE = "data.file"
"""Only its name counts: run folders and data files are moved, and to other machines."""
_ADDED_LATER = {"added_later": True}
"""Metadata of a setting that older runs lack: they were trained as its default says."""


@dataclass(frozen=True)
class DataSettings:
    """Which samples: the first `n_train` and `n_test` of a data set."""

    name: str = "embedded-mnist"
    n_train: int = 1024
    n_test: int = 1024
    file: str | None = field(default=None, metadata=_ADDED_LATER)
    """An .npz file that holds the data set, or a part of it, instead of torchvision's folder."""

    def __post_init__(self) -> None:
        _one_of("data set", self.name, DATA_SETS)
        if self.file is not None and self.name == "embedded-mnist":
            raise SettingsError("the embedded data set is read from no file: name mnist or cifar10 with a data file")
        _at_least("number of training samples", self.n_train, 1)
        _at_least("number of test samples", self.n_test, 1)


@dataclass(frozen=True)
class ModelSettings:
    """A ReLU network by its hidden widths; the defaults are the one of arXiv 2506.12284 for MNIST.

    The widths of a "cnn" are the filters of each pair of convolutions and, last, the width of the head.
    """

    hidden_widths: tuple[int, ...] = (196, 196, 196)
    bias: bool = False
    initial_scale: float = 8.0
    network: str = field(default="mlp", metadata=_ADDED_LATER)
    """One of NETWORKS."""

    def __post_init__(self) -> None:
        _one_of("network", self.network, NETWORKS)
        if self.network == "cnn" and len(self.hidden_widths) < 2:
            raise SettingsError(
                "a cnn needs the filters of at least one pair of convolutions and the width of its head, such as "
                f"32,64,128,128; got {', '.join(map(str, self.hidden_widths)) or 'none'}"
            )
        for width in self.hidden_widths:
            _at_least("hidden width", width, 1)
        _positive("scale of the initial weights", self.initial_scale)


@dataclass(frozen=True)
class TrainingSettings:
    """Loss, AdamW, GrokAlign and length; the defaults are Table 1 of arXiv 2506.12284."""

    loss: str = "cross-entropy"
    grokalign: float = 1e-3
    """Coefficient λ of the GrokAlign penalty, where GrokAlign is among the methods; 0 trains without it."""
    grokalign_level: float | None = None
    """Level of the constrained variant λ·|level − mean ‖J‖|; None minimises the norm."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 256
    epochs: int = 3000
    dtype: str = "float32"
    logs_per_decade: int = 12
    """Metrics and checkpoints for each factor of ten in epochs, equally spaced in the logarithm."""
    methods: tuple[str, ...] = field(default=("grokalign",), metadata=_ADDED_LATER)
    """Which of METHODS act, together; weight decay always does, with its own coefficient."""
    stop_at: float | None = field(default=None, metadata=_ADDED_LATER)
    """Stop when the test accuracy exceeds this; looked at every ten epochs, as in arXiv 2506.12284's code."""
    metric_points: int = field(default=1024, metadata=_ADDED_LATER)
    """Alignments and Jacobian norms are measured at the first so many training points."""
    metrics: tuple[str, ...] = field(default=(), metadata=_ADDED_LATER)
    """Which of OPTIONAL_METRICS are measured as well, about twice for each factor of ten in epochs."""

    def __post_init__(self) -> None:
        _one_of("loss", self.loss, tuple(LOSSES))
        _one_of("dtype", self.dtype, DTYPES)
        _positive("learning rate", self.learning_rate)
        for name, value in (("GrokAlign coefficient", self.grokalign), ("weight decay", self.weight_decay)):
            if not (value >= 0 and math.isfinite(value)):
                raise SettingsError(f"{name} must be finite and not negative, got {value}")
        for method in self.methods:
            _one_of("method", method, METHODS)
        for metric in self.metrics:
            _one_of("optional metric", metric, OPTIONAL_METRICS)
        if len(set(self.methods)) < len(self.methods):
            raise SettingsError(f"methods must differ from each other, got {', '.join(self.methods)}")
        if self.stop_at is not None and not 0 < self.stop_at < 1:
            raise SettingsError(f"the test accuracy to stop at must lie between 0 and 1, got {self.stop_at}")
        if self.grokalign_level is not None:
            _positive("GrokAlign level", self.grokalign_level)
        _at_least("batch size", self.batch_size, 1)
        _at_least("number of epochs", self.epochs, 1)
        _at_least("number of logs per decade", self.logs_per_decade, 1)
        _at_least("number of points to measure at", self.metric_points, 1)


@dataclass(frozen=True)
class RunSettings:
    """All that decides the numbers of a run, save the machine."""

    data: DataSettings = field(default_factory=DataSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"seed must be from 0 to 2⁶³ − 1, got {self.seed}")
        if "regions" in self.training.metrics and self.model.network != "mlp":
            raise SettingsError("the metric regions is for an mlp: a cnn has too many regions on such a slice")


def as_json(settings: Any) -> dict[str, Any]:
    """Nested dictionaries of plain JSON values, from any frozen dataclass of settings."""
    return dataclasses.asdict(settings)


def from_json(settings_type: type[S], values: Any) -> S:
    """Invert `as_json`. Raises SettingsError naming the setting that is missing, unknown or of a wrong type."""
    settings: S = _from_json(settings_type, values, "settings")
    return settings


def differences(left: Any, right: Any) -> list[str]:
    """Name every setting in which two runs differ, with both values: "training.epochs: 100 and 200"."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        entries: dict[str, Any] = {}
        for name, value in values.items():
            entries |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return entries

    one, other = flat(as_json(left)), flat(as_json(right))
    return [f"{name}: {one[name]} and {other[name]}" for name in one if not _same(name, one[name], other[name])]


def _same(name: str, one: Any, other: Any) -> bool:
    if name == _DATA_FILE and None not in (one, other):
        return PurePath(one).name == PurePath(other).name
    return bool(one == other)


def _from_json(cls: type, values: Any, where: str) -> Any:
    hints = get_type_hints(cls)
    if isinstance(values, Mapping):
        values = _later_defaults(cls) | dict(values)
    if not isinstance(values, Mapping) or values.keys() != hints.keys():
        odd = sorted(values.keys() ^ hints.keys()) if isinstance(values, Mapping) else [str(values)]
        raise SettingsError(f"{where} has missing or unknown entries: {', '.join(odd)}")
    return cls(**{name: _value(hint, values[name], f"{where}.{name}") for name, hint in hints.items()})


def _later_defaults(cls: type) -> dict[str, Any]:
    return {entry.name: entry.default for entry in dataclasses.fields(cls) if entry.metadata == _ADDED_LATER}


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _from_json(hint, value, where)
    if get_origin(hint) is tuple:
        if isinstance(value, (list, tuple)):
            return tuple(_value(get_args(hint)[0], entry, where) for entry in value)
    elif isinstance(hint, types.UnionType):
        return None if value is None else _value(get_args(hint)[0], value, where)
    elif hint is float and type(value) in (int, float):
        return float(value)
    elif type(value) is hint:
        return value
    raise SettingsError(f"{where} has the wrong type: {value!r}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def _at_least(name: str, value: int, minimum: int) -> None:
    if value < minimum:
        raise SettingsError(f"{name} must be at least {minimum}, got {value}")


def _positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise SettingsError(f"{name} must be positive and finite, got {value}")
