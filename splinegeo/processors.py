"""The processors that this process may use."""

import os


def n_processors() -> int:
    """How many there are: on a cluster, or with taskset, fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
