"""Times of what is asked of a partition once it is there, each from a partition that has computed nothing yet."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from workloads import Workload

import splinegeo as sg

_LOCATED_POINTS = 1_000_000

Quantity = Callable[[sg.Partition, np.ndarray], object]
QUANTITIES: dict[str, Quantity] = {
    "slice maps": lambda partition, _: partition.slice_maps,
    "centroids (full space)": lambda partition, _: partition.centroids(),
    "radii": lambda partition, _: partition.radii(),
    "Frobenius norms (input space)": lambda partition, _: partition.operator_norms("frobenius"),
    "spectral norms (input space)": lambda partition, _: partition.operator_norms("spectral"),
    "locate 10⁶ points": lambda partition, points: partition.locate(points),
    "decision boundary": lambda partition, _: partition.decision_boundary(),
}


def quantities(workload: Workload, threads: int, runs: int) -> dict[str, dict[str, list[float]]]:
    """Wall and processor seconds of the warm runs of each quantity of a workload's partition."""
    partition = sg.enumerate_regions(workload.model(), workload.plane(), sg.Box(workload.half_width), threads=threads)
    low, high = partition.domain.min(axis=0), partition.domain.max(axis=0)
    points = np.random.default_rng(0).uniform(low, high, (_LOCATED_POINTS, 2))
    results = {}
    for name, compute in QUANTITIES.items():
        walls, cpus = [], []
        for _ in range(runs + 1):
            fresh = replace(partition)  # without what the other runs have cached
            wall, cpu = time.perf_counter(), time.process_time()
            compute(fresh, points)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        results[name] = {"wall": walls[1:], "cpu": cpus[1:]}
    return results
