"""Where else a run's metrics go while it trains: TensorBoard or Weights & Biases, behind one small protocol."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from experiments.errors import SettingsError, one_line
from experiments.run_folder import RunFolder
from experiments.settings import as_json
from splinegeo.errors import MissingExtraError

LOGGERS = ("tensorboard", "wandb")


class Logger(Protocol):
    """Takes note of metrics along training; `metrics.jsonl` is written whatever a logger does."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of the metrics at a step."""
        ...

    def close(self) -> None:
        """Write what is still held back."""
        ...


class TensorBoardLogger:
    """Writes event files into `folder`; needs the extra `tensorboard`.

    `first_step`: what an earlier, interrupted process logged from there on is discarded.
    Raises MissingExtraError without the package, OSError as the disk does.
    """

    def __init__(self, folder: Path, first_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter
        except ImportError:
            raise MissingExtraError("--logger tensorboard needs: pip install 'splinegeo[tensorboard]'") from None
        self._writer = SummaryWriter(str(folder), purge_step=first_step or None)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of the metrics at a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


class WandbLogger:
    """Logs to Weights & Biases, or with WANDB_MODE=offline into `folder`/wandb alone; needs the extra `wandb`.

    A run that is taken up again goes on under the same `name`, its id. Raises MissingExtraError without the package,
    and whatever wandb raises when it cannot start.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingExtraError("--logger wandb needs: pip install 'splinegeo[wandb]'") from None
        self._run = wandb.init(
            project="splinegeo", dir=str(folder), id=name, name=name, config=dict(settings), resume="allow"
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take note of the metrics at a step."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write what is still held back."""
        self._run.finish()


class UnfailingLogger:
    """Another logger until that fails, at its start or later: training is worth more than its echo.

    A failure is told once on stderr, and ends the logging alone. Raises MissingExtraError as `start` does.
    """

    def __init__(self, name: str, start: Callable[[], Logger]) -> None:
        self._name = name
        self._logger: Logger | None = None
        with self._surviving():
            self._logger = start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Pass the metrics on."""
        if self._logger is not None:
            with self._surviving():
                self._logger.log(step, metrics)

    def close(self) -> None:
        """Close the other logger."""
        if self._logger is not None:
            with self._surviving():
                self._logger.close()

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except MissingExtraError:
            raise
        except Exception as error:  # of any library, disk and network
            self._logger = None
            print(
                f"splinegeo: logging to {self._name} failed and has stopped ({one_line(error)}); training goes on, "
                "and metrics.jsonl has everything",
                file=sys.stderr,
            )


def check_logger(name: str) -> None:
    """Raise SettingsError for a name that is not of LOGGERS, MissingExtraError when its package cannot be imported."""
    if name not in LOGGERS:
        raise SettingsError(f"logger must be one of {', '.join(LOGGERS)}; got {name!r}")
    if name not in sys.modules and find_spec(name) is None:
        raise MissingExtraError(f"--logger {name} needs: pip install 'splinegeo[{name}]'")
    try:
        import_module("torch.utils.tensorboard.writer" if name == "tensorboard" else name)
    except ImportError as error:  # there, but without something that it needs itself
        raise MissingExtraError(
            f"--logger {name} needs: pip install 'splinegeo[{name}]'; the one that is installed cannot be imported "
            f"({one_line(error)})"
        ) from None


def open_logger(name: str, run: RunFolder, first_step: int = 0) -> Logger:
    """Open a logger of LOGGERS for a run, which never stops it: files go into RUN/tensorboard or RUN/wandb.

    Raises the errors of `check_logger`.
    """
    check_logger(name)
    if name == "tensorboard":
        return UnfailingLogger(name, lambda: TensorBoardLogger(run.path / "tensorboard", first_step))
    path = str(run.path.resolve())
    # The same for a run that is taken up again, another one for a run made anew under an old name.
    mark = hashlib.sha256(f"{path} {run.provenance.get('created')}".encode()).hexdigest()[:8]
    return UnfailingLogger(
        name, lambda: WandbLogger(run.path, f"{run.path.resolve().name}-{mark}", as_json(run.settings))
    )
