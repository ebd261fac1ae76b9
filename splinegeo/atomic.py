"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY_SUFFIX = ".part"


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: a reader, or a kill at any moment, finds the old file or the new one, never a mixture.

    Raises OSError (disk full, no permission) and then leaves the old file in place.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
