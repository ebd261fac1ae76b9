"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".part"


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends: a reader, or a kill at any moment, finds the
    old file or the new one, never a mixture.

    Raises OSError (disk full, no permission, no such folder); then, and whatever the block raises, the old file stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        if isinstance(error, FileNotFoundError) and not path.parent.exists():
            error.filename = str(path.parent)
        elif isinstance(error, OSError) and error.filename in (None, str(temporary)) and error.errno is not None:
            error.filename = str(path)  # the system says it of names alone, and not of what is written
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`, as `replacing_file` does."""
    with replacing_file(path) as file:
        file.write(content)
