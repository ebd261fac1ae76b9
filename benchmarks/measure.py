"""One measurement in a process of its own: imports, prepares, warms up, then times; prints one line of JSON.

Started by enumeration.py; see `python benchmarks/measure.py --help`.
"""

import argparse
import gc
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

from peers import PEERS, load_folded
from turns import enumeration, in_turns
from workloads import WORKLOADS, Workload

_STREAM_MEMORY = 1 << 30


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["splinegeo", "read", "streamed", "turns", "derived", "first-result", *PEERS])
    parser.add_argument("--workload", choices=list(WORKLOADS), required=True)
    parser.add_argument("--folded", type=Path, help="the workload for a peer, as Workload.save_folded writes it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=5, help="timed runs after one that warms up")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for all runs: fewer if they take longer")
    parser.add_argument(
        "--begin", type=float, default=time.time(), help="when this process was started, seconds since 1970"
    )
    arguments = parser.parse_args()
    workload = WORKLOADS[arguments.workload]
    if arguments.what == "first-result":
        regions = enumeration(workload, arguments.threads)()
        wall, cpu = time.time() - arguments.begin, time.process_time()
        result: dict = {"regions": regions, "wall": [wall], "cpu": [cpu]}
    elif arguments.what == "derived":
        from derived import quantities

        result = {"quantities": quantities(workload, arguments.threads, arguments.runs)}
    elif arguments.what == "turns":
        result = in_turns(workload, arguments.threads, arguments.runs, arguments.budget)
    else:
        if arguments.what == "splinegeo":
            run = enumeration(workload, arguments.threads)
        elif arguments.what == "read":
            run = enumeration(workload, arguments.threads, read_before=True)
        elif arguments.what == "streamed":
            run = _streamed(workload, arguments.threads)
        else:
            run = PEERS[arguments.what](load_folded(arguments.folded), arguments.threads)
        result = timed(run, arguments.runs, arguments.budget)
    print(json.dumps({**result, "peak": _memory("VmHWM")}), flush=True)


def timed(run: Callable[[], int], runs: int, budget: float) -> dict:
    """Wall and processor seconds of each warm run, the regions found, and the memory held before the first run.

    A run that takes more than the whole budget counts although it was the first one.
    """
    before = _memory("VmRSS")
    walls: list[float] = []
    cpus: list[float] = []
    regions = 0
    wanted, warm = runs, False
    while len(walls) < wanted:
        gc.collect()
        wall, cpu = time.perf_counter(), processor_seconds()
        regions = run()
        wall, cpu = time.perf_counter() - wall, processor_seconds() - cpu
        if not warm:
            warm, wanted = True, max(1, min(runs, int(budget / max(wall, 1e-9))))
            if wall <= budget:
                continue
        walls.append(wall)
        cpus.append(cpu)
    return {"regions": regions, "wall": walls, "cpu": cpus, "before": before}


def _streamed(workload: Workload, threads: int) -> Callable[[], int]:
    import splinegeo as sg

    model, plane, domain = workload.model(), workload.plane(), sg.Box(workload.half_width)

    def run() -> int:
        blocks = sg.iterate_regions(model, plane, domain, memory=_STREAM_MEMORY, threads=threads)
        return sum(block.n_regions for block in blocks)

    return run


def processor_seconds() -> float:
    """User and system time of this process and of the workers that it has waited for."""
    workers = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + workers.ru_utime + workers.ru_stime


def _memory(key: str) -> int:
    """Bytes: VmRSS, held now, or VmHWM, the most ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith(key):
                return 1024 * int(line.split()[1])
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
