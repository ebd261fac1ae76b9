"""Times and memory of enumerating linear regions: splinegeo beside the programs that can be installed.

Every measurement is a fresh process that imports, prepares, runs once and is then timed. Wall times say little while
the machine has other work; the CPU times (user and system) beside them say more.

    python benchmarks/enumeration.py                          # everything: allow an hour
    python benchmarks/enumeration.py --only S,M --peers none  # a minute
    python benchmarks/enumeration.py --write                  # also to its sections of benchmarks/RESULTS.md
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from child_process import Limits, Outcome, measure
from curve_picture import draw_curve
from machine import described
from peers import PEER_WORKLOADS, PEERS
from results_file import write_sections
from tables import Row, curve_table, enumeration_table, timing_table
from targets import OURS, targets_table, threads_table
from tqdm import tqdm
from workloads import CURVE, ENUMERATION, WORKLOADS

from splinegeo.processors import n_processors

_RESULTS = Path(__file__).parent / "RESULTS.md"
_CURVE = Path(__file__).parent / "curve.png"
_SECTIONS = ("threads", "curve", "derived", "start")
_STREAMED, _READ = "splinegeo, streamed", "splinegeo, network read before"
_WHAT = {OURS: "splinegeo", _STREAMED: "streamed", _READ: "read"}
# Where reading the torch module takes most of the time: regioncam is given arrays of weights.
_MOSTLY_READING = ("B", "S")
_THREADS = "One thread and all of them, in turns"
# Turns for each run of the other tables: a ratio near one takes many.
_TURNS = 3
# From this number of regions on the curve also shows the stream of blocks.
_STREAMED_FROM = ("L120", "X120")
_DERIVED_TARGETS = {
    "slice maps": 0.15,
    "centroids (full space)": 0.5,
    "Frobenius norms (input space)": 2.0,
    "spectral norms (input space)": 4.0,
    "locate 10⁶ points": 2.0,
}
_COLD_TARGET, _COMPILATION_TARGET = 4.0, 30.0


@dataclass(frozen=True)
class Plan:
    """What is to be measured, and how."""

    selected: tuple[str, ...]
    peers: tuple[str, ...]
    runs: int
    budget: float
    limits: Limits
    peer_limits: Limits
    threads: tuple[int, ...]
    write: bool


def main() -> None:
    """Measure, print the tables, and write them if asked."""
    plan = _arguments()
    command = shlex.join(["python", "benchmarks/enumeration.py", *sys.argv[1:]])
    source = described(command)
    _show([source, ""])
    measured = {}
    for name, lines in _sections(plan):
        measured[name] = [*lines, ""]
        _show([f"## {name}", "", *measured[name]])
        if plan.write:
            write_sections(_RESULTS, "# Benchmarks: enumerating linear regions", measured, source)


def _sections(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    rows = _enumeration(plan)
    if rows:
        yield "Enumeration", enumeration_table(rows)
        held = targets_table(rows)
        if held:
            yield "Targets", held
    if "threads" in plan.selected and plan.threads[-1] > 1:
        yield _THREADS, _in_turns(plan)
    if "curve" in plan.selected:
        yield "Linearity, one thread", _drawn_curve(plan, _curve(plan))
    if "derived" in plan.selected:
        yield "Quantities of the partition of M, all threads", _derived(plan)
    if "start" in plan.selected:
        yield "From process start to the first result, S, one thread", _start(plan)


def _enumeration(plan: Plan) -> list[Row]:
    jobs = [(w.name, OURS, threads) for w in ENUMERATION if w.name in plan.selected for threads in plan.threads]
    jobs += [(name, _READ, 1) for name in _MOSTLY_READING if name in plan.selected and 1 in plan.threads]
    for peer in plan.peers:
        # regioncam knows one thread only
        threads = plan.threads if peer != "regioncam" else plan.threads[:1]
        jobs += [(name, peer, n) for name in PEER_WORKLOADS[peer] if name in plan.selected for n in threads]
    order = [workload.name for workload in ENUMERATION]
    jobs.sort(key=lambda job: order.index(job[0]))
    return [_row(plan, *job) for job in tqdm(jobs, desc="enumeration", leave=False)]


def _in_turns(plan: Plan) -> list[str]:
    threads, turns, failures = plan.threads[-1], {}, []
    for workload in tqdm([w.name for w in ENUMERATION if w.name in plan.selected], desc="threads", leave=False):
        arguments = ["--workload", workload, "--runs", str(_TURNS * plan.runs), "--budget", str(_TURNS * plan.budget)]
        outcome = measure("turns", threads, plan.limits, arguments, {})
        if outcome.failure:
            failures.append(f"{workload}: {outcome.failure}")
        else:
            turns[workload] = outcome.values
    return [*threads_table(turns, threads), *failures]


def _curve(plan: Plan) -> list[Row]:
    jobs = [(workload.name, OURS, 1) for workload in CURVE]
    jobs += [(name, _STREAMED, 1) for name in _STREAMED_FROM]
    return [_row(plan, *job) for job in tqdm(jobs, desc="curve", leave=False)]


def _drawn_curve(plan: Plan, rows: list[Row]) -> list[str]:
    widths = {workload.name[0]: workload.sizes[1] for workload in CURVE}
    lines = [*curve_table(rows), "", _widths_said(widths)]
    if not plan.write:
        return lines
    draw_curve(rows, widths, _CURVE)
    return [f"![Processor seconds over regions]({_CURVE.name})", "", *lines]


def _widths_said(widths: dict[str, int]) -> str:
    layers = ", ".join(f"{name}'s layers are {width} units wide" for name, width in widths.items())
    return (
        f"{layers}. Within one network the time is linear in the regions. A region of a wider network takes more: the "
        "products at the vertices of its first layers grow with the square of the width."
    )


def _row(plan: Plan, workload: str, engine: str, threads: int) -> Row:
    arguments = ["--workload", workload, "--runs", str(plan.runs), "--budget", str(plan.budget)]
    if engine in PEERS:
        with tempfile.TemporaryDirectory() as folder:
            folded = Path(folder) / "folded.npz"
            WORKLOADS[workload].save_folded(folded)
            outcome = measure(engine, threads, plan.peer_limits, [*arguments, "--folded", str(folded)], {})
    else:
        outcome = measure(_WHAT[engine], threads, plan.limits, arguments, {})
    if outcome.failure:
        return Row(workload, engine, threads, failure=outcome.failure)
    values = outcome.values
    return Row(
        workload, engine, threads, values["regions"], tuple(values["wall"]), tuple(values["cpu"]), values["peak"],
        values["before"],
    )  # fmt: skip


def _derived(plan: Plan) -> list[str]:
    outcome = measure("derived", n_processors(), plan.limits, ["--workload", "M", "--runs", str(plan.runs)], {})
    if outcome.failure:
        return [outcome.failure]
    found = outcome.values["quantities"]
    rows = [(name, times["wall"], times["cpu"], _DERIVED_TARGETS.get(name)) for name, times in found.items()]
    return [*timing_table("quantity", rows), "", f"Peak memory {outcome.values['peak'] / 1e6:.0f} MB."]


def _start(plan: Plan) -> list[str]:
    _first_result(plan, {})  # the kernels are in their cache from here on
    warm = [_first_result(plan, {}) for _ in range(plan.runs)]
    with tempfile.TemporaryDirectory() as folder:
        compiling = _first_result(plan, {"NUMBA_CACHE_DIR": folder})
    rows = []
    for name, outcomes, target in (
        ("kernels cached", warm, _COLD_TARGET),
        ("first-ever compilation", [compiling], _COMPILATION_TARGET),
    ):
        for outcome in outcomes:
            if outcome.failure:
                return [f"{name}: {outcome.failure}"]
        wall = [outcome.values["wall"][0] for outcome in outcomes]
        rows.append((name, wall, [outcome.values["cpu"][0] for outcome in outcomes], target))
    compilation = median(rows[1][1]) - median(rows[0][1])
    return [*timing_table("start", rows), "", f"Compilation alone: {compilation:.1f} s more than with cached kernels."]


def _first_result(plan: Plan, environment: dict[str, str]) -> Outcome:
    return measure("first-result", 1, plan.limits, ["--workload", "S"], environment)


def _arguments() -> Plan:
    names = [workload.name for workload in ENUMERATION]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join([*names, *_SECTIONS]), help=f"of {', '.join([*names, *_SECTIONS])}")
    parser.add_argument("--peers", default=",".join(PEERS), help=f"of {', '.join(PEERS)}; or none")
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each, after one that warms up (default 5)")
    parser.add_argument("--threads", default=f"1,{n_processors()}", help="numbers of threads (default: one and all)")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds for the runs of one row, fewer if longer")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds for one process of splinegeo")
    parser.add_argument("--peer-time-limit", type=float, default=600.0, help="seconds for one process of a peer")
    parser.add_argument("--memory-limit", type=float, default=12.0, help="GB for one process (default 12)")
    parser.add_argument("--write", action="store_true", help="write the measured sections to benchmarks/RESULTS.md too")
    given = parser.parse_args()
    selected = _chosen(parser, "--only", given.only, [*names, *_SECTIONS])
    peers = () if given.peers == "none" else _chosen(parser, "--peers", given.peers, list(PEERS))
    if given.runs < 1:
        parser.error("--runs must be at least 1")
    try:
        threads = tuple(sorted({int(n) for n in given.threads.split(",")}))
    except ValueError:
        parser.error(f"--threads takes numbers such as 1,2, not {given.threads}")
    memory = int(1e9 * given.memory_limit)
    limits, peer_limits = Limits(given.time_limit, memory), Limits(given.peer_time_limit, memory)
    return Plan(selected, peers, given.runs, given.budget, limits, peer_limits, threads, given.write)


def _chosen(parser: argparse.ArgumentParser, option: str, given: str, names: Sequence[str]) -> tuple[str, ...]:
    chosen = tuple(given.split(","))
    for name in chosen:
        if name not in names:
            parser.error(f"{option} takes names of {', '.join(names)}, not {name!r}")
    return chosen


def _show(lines: Sequence[str]) -> None:
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
