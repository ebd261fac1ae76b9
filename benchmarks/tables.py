"""Results as Markdown tables, with the targets that they are held against."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MB = 1e6


@dataclass(frozen=True)
class Row:
    """One measurement: seconds of each run, bytes of memory; or why there is none."""

    workload: str
    engine: str
    threads: int
    regions: int = 0
    wall: tuple[float, ...] = ()
    cpu: tuple[float, ...] = ()
    peak: int = 0
    before: int = 0
    """Bytes held before the first run: what the imports and the network take."""
    failure: str = ""


def seconds(value: float) -> str:
    """A time with three significant digits."""
    return f"{value:.3f}" if value < 1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, columns padded to equal width."""
    cells = [list(titles), *[list(row) for row in rows]]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(titles))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def enumeration_table(rows: Sequence[Row]) -> list[str]:
    """Regions, times and memory of every workload and engine."""
    titles = [
        "workload",
        "regions",
        "engine",
        "threads",
        "wall s",
        "min–max",
        "CPU s",
        "peak MB",
        "above imports MB",
        "runs",
    ]
    lines = []
    for row in rows:
        if row.failure:
            lines.append([row.workload, "", row.engine, str(row.threads), row.failure, "", "", "", "", ""])
            continue
        lines.append([
            row.workload, f"{row.regions:,}".replace(",", " "), row.engine, str(row.threads), seconds(median(row.wall)),
            f"{seconds(min(row.wall))}–{seconds(max(row.wall))}", seconds(median(row.cpu)), f"{row.peak / MB:.0f}",
            f"{max(0, row.peak - row.before) / MB:.0f}", str(len(row.wall)),
        ])  # fmt: skip
    return table(titles, lines)


def curve_table(rows: Sequence[Row]) -> list[str]:
    """Time and memory for each region, which stay level if the work is linear in regions."""
    titles = ["workload", "engine", "regions", "wall s", "CPU s", "CPU µs a region", "peak MB", "bytes a region"]
    lines = []
    for row in rows:
        if row.failure:
            lines.append([row.workload, row.engine, "skipped", row.failure, "", "", "", ""])
            continue
        cpu = median(row.cpu)
        lines.append([
            row.workload, row.engine, f"{row.regions:,}".replace(",", " "), seconds(median(row.wall)), seconds(cpu),
            f"{1e6 * cpu / row.regions:.2f}", f"{row.peak / MB:.0f}",
            f"{max(0, row.peak - row.before) / row.regions:.0f}",
        ])  # fmt: skip
    return table(titles, lines)


def timing_table(title: str, rows: Sequence[tuple[str, Sequence[float], Sequence[float], float | None]]) -> list[str]:
    """Rows of name, wall and CPU seconds of the runs, and the target in wall seconds, if there is one."""
    lines = []
    for name, wall, cpu, target in rows:
        verdict = "" if target is None else f"≤ {target:g} s: {'met' if median(wall) <= target else 'missed'}"
        spread = f"{seconds(min(wall))}–{seconds(max(wall))}"
        lines.append([name, seconds(median(wall)), spread, seconds(median(cpu)), str(len(wall)), verdict])
    return table([title, "wall s", "min–max", "CPU s", "runs", "target"], lines)
