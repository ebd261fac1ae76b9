"""Processors that a process may use: those that it is bound to."""

import os
import subprocess
import sys

import pytest

from splinegeo.processors import n_processors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are bound to processors on Linux alone")
def test_a_process_that_is_bound_to_one_processor_uses_one() -> None:
    program = """
import os
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
from splinegeo.processors import n_processors
print(n_processors())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=True)
    assert ended.stdout.strip() == "1"


def test_elsewhere_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for found, expected in ((6, 6), (None, 1)):
        monkeypatch.setattr(os, "cpu_count", lambda found=found: found)
        assert n_processors() == expected
