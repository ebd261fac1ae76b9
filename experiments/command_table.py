"""`splinegeo table N`: the tables of arXiv 2506.12284, from run folders that are trained where they are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from experiments.options import Batched, DataDir, Device, Threads, set_threads
from experiments.train_group import trained
from experiments.usage import CommandGroup

tables = typer.Typer(
    cls=CommandGroup,
    help="Make a table of the papers; trains what it needs.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="Where run folders and tables go; reused and resumed.")]
_Quick = Annotated[bool, typer.Option("--quick", help="A smaller setting that takes minutes; the table says so.")]
_Seeds = Annotated[str, typer.Option(metavar="0-9|0,3,5", help="Seeds to train.")]


@tables.command("1")
def table_1(
    folder: _Folder = Path("tables"),
    quick: _Quick = False,
    seeds: Annotated[
        str | None, typer.Option(metavar="0-9|0,3,5", help="Seeds to train.", show_default="0-9; 0 with --quick")
    ] = None,
    losses: Annotated[
        str | None,
        typer.Option(
            metavar="cross-entropy|squared-error|…,…",
            help="Losses to train with.",
            show_default="both; cross-entropy with --quick",
        ),
    ] = None,
    methods: Annotated[
        str, typer.Option(metavar="NAME[,NAME]", help="Methods to train with.")
    ] = "baseline,grokalign,grokfast,adversarial",
    batched: Batched = False,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Table 1 of arXiv 2506.12284: epochs and seconds until the test accuracy exceeds 85 %, by method and loss.

    The paper's setting takes about a minute for a GrokAlign run and ten for a baseline under cross-entropy, and far
    longer under squared error; there are ten seeds. Ctrl-C stops, the same command goes on. Every finished run is in
    the table at once: FOLDER/table1.md, or FOLDER/table1_quick.md.
    """
    set_threads(threads)
    from experiments.run_group import parse_seeds, seed_folder
    from experiments.runs import table1

    setting = table1.QUICK if quick else table1.PAPER
    numbers = parse_seeds(seeds or ("0" if quick else "0-9"))
    chosen_losses = _names(losses or ("cross-entropy" if quick else "cross-entropy,squared-error"))
    wanted = [
        (method, seed_folder(folder / setting.name / loss / method, seed), table1.settings(setting, loss, method, seed))
        for seed in numbers
        for loss in chosen_losses
        for method in _names(methods)
    ]
    title = f"Table 1 of arXiv 2506.12284 · {setting.description}"
    found = []
    for method, run in trained(wanted, data_dir, device, f"splinegeo table 1 {folder}, with the same options", batched):
        found.append(table1.result(run, method))
        path = _write(folder / f"{setting.name}.md", title, table1.HEADER, table1.rows(found))
    _print(title, table1.HEADER, table1.rows(found), path)


@tables.command("2")
def table_2(
    folder: _Folder = Path("tables"),
    quick: _Quick = False,
    seeds: _Seeds = "0",
    batched: Batched = False,
    data_dir: DataDir = Path("data"),
    device: Device = "auto",
    threads: Threads = None,
) -> None:
    """Table 2 of arXiv 2506.12284: alignment of the Jacobian's rows with the training points.

    Cross-entropy. The paper's setting takes about five minutes with GrokAlign and half an hour without. Ctrl-C stops,
    the same command goes on. Writes FOLDER/table2.md, or FOLDER/table2_quick.md.
    """
    set_threads(threads)
    from experiments.run_group import parse_seeds, seed_folder
    from experiments.runs import table2

    setting = table2.QUICK if quick else table2.PAPER
    numbers = parse_seeds(seeds)
    wanted = [
        (method, seed_folder(folder / setting.name / method, seed), table2.settings(setting, method, seed))
        for seed in numbers
        for method in table2.METHODS
    ]
    title = f"Table 2 of arXiv 2506.12284 · {setting.description}"
    found = []
    for method, run in trained(wanted, data_dir, device, f"splinegeo table 2 {folder}, with the same options", batched):
        found.append((method, run))
        path = _write(folder / f"{setting.name}.md", title, table2.HEADER, table2.rows(found))
    _print(title, table2.HEADER, table2.rows(found), path)


def _names(text: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in text.split(",")))


def _write(path: Path, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    from experiments.table import markdown_table
    from splinegeo.atomic import write_atomically

    write_atomically(path, f"{title}\n\n{markdown_table(header, rows)}\n".encode())
    return path


def _print(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], path: Path) -> None:
    from experiments.table import text_table

    print(f"{title}\n\n{text_table(header, rows)}\ntable: {path}")
