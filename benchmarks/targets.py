"""The targets of speed and memory, each held against the measured rows."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles

from tables import MB, Row, seconds, table

# workload: wall seconds on one thread, bytes of memory.
_ABSOLUTE = {
    "M": (0.060, None),
    "M31": (0.2, None),
    "L10": (None, 0.7e9),
    "L120": (5.0, 1.5e9),
}
_TIMES_REGIONCAM = {"M": 15.0, "L10": 60.0}
_ALL_THREADS = {"L10": 1.5}
OURS = "splinegeo"


def targets_table(rows: Sequence[Row]) -> list[str]:
    """Each target whose measurements are there: by wall time, and by CPU time, which other work disturbs less."""
    done = {(row.workload, row.engine, row.threads): row for row in rows if not row.failure}
    lines = []
    for (workload, engine, threads), row in done.items():
        if engine != OURS:
            continue
        wall, cpu = median(row.wall), median(row.cpu)
        if threads == 1:
            most_seconds, most_memory = _ABSOLUTE.get(workload, (None, None))
            if most_seconds:
                lines.append(_line(f"{workload}, one thread ≤ {most_seconds:g} s", wall, cpu, most_seconds))
            if most_memory:
                verdict = "met" if row.peak <= most_memory else "missed"
                peak = f"{row.peak / MB:.0f} MB, {(row.peak - row.before) / MB:.0f} of them above the imports"
                lines.append([f"{workload}, peak memory ≤ {most_memory / 1e9:g} GB", peak, "", verdict])
        other = done.get((workload, "regioncam", 1))
        if other and workload in _TIMES_REGIONCAM:
            least = _TIMES_REGIONCAM[workload]
            ratios = median(other.wall) / wall, median(other.cpu) / cpu
            ours = "one thread" if threads == 1 else f"{threads} threads"
            lines.append(_ratio(f"{workload}, {ours} at least {least:g} × faster than regioncam's one", *ratios, least))
    if not lines:
        return []
    return table(["target", "by wall time", "by CPU time", "verdict (wall)"], lines)


def threads_table(turns: Mapping[str, Mapping[str, Sequence[float]]], threads: int) -> list[str]:
    """For each workload the wall seconds of one thread and of several, in turns, and their ratio, turn by turn; beside
    it the ratio that as many processes reach, one thread each: what they do at once by what one does alone.

    Where the second thread has nothing to do the median wavers about one: slower means that three of four turns are.
    """
    lines = []
    for workload, taken in turns.items():
        alone, together, beside = taken["alone"], taken["together"], taken["beside"]
        least = _ALL_THREADS.get(workload)
        low, middle, high = quantiles([a / b for a, b in zip(alone, together, strict=True)], n=4, method="inclusive")
        of_processes = median(threads * a / b for a, b in zip(alone, beside, strict=True))
        target = f"{least:g} ×" if least else "not slower"
        verdict = "met" if (middle >= least if least else high >= 1.0) else "missed"
        spread = f"{low:.2f}–{high:.2f}"
        times = [seconds(median(alone)), seconds(median(together))]
        ratios = [f"{middle:.2f} ×", spread, f"{of_processes:.2f} ×"]
        lines.append([workload, *times, *ratios, str(len(alone)), f"{target}: {verdict}"])
    ratios = ["ratio, median", "quartiles", f"{threads} processes at once"]
    return table(["workload", "one thread s", f"{threads} threads s", *ratios, "turns", "target"], lines)


def _line(name: str, wall: float, cpu: float, most: float) -> list[str]:
    return [name, f"{seconds(wall)} s", f"{seconds(cpu)} s", "met" if wall <= most else "missed"]


def _ratio(name: str, by_wall: float, by_cpu: float, least: float) -> list[str]:
    return [name, f"{by_wall:.1f} ×", f"{by_cpu:.1f} ×", "met" if by_wall >= least else "missed"]
