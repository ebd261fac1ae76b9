"""The marks of tests that open a window of napari."""

import os
import sys

import pytest

from viz.napari_window import load_triton

needs_display = [
    pytest.mark.skipif(
        sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")),
        reason="there is no display: run under xvfb-run -a",
    ),
    # Third parties' own: pydantic and vispy about what napari calls, Qt about what vispy calls.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:napari"),
]

load_triton()  # these tests train beside open windows, which napari opens itself
