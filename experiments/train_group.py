"""Training the runs that a table or a figure is made of, one after another, for the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from experiments.command_train import train_batch_or_explain_stop, train_or_explain_stop

if TYPE_CHECKING:
    from experiments.run_folder import RecordFolder, RunFolder
    from experiments.settings import RunSettings
    from experiments.steps import StepwiseTraining


def trained(
    wanted: Sequence[tuple[str, Path, RunSettings]],
    data_dir: Path,
    device: str,
    resume_command: str,
    batched: bool = False,
) -> Iterator[tuple[str, RunFolder]]:
    """Each run with its name as soon as it is finished: trained, taken up again, or found so.

    `wanted` holds name, run folder and settings of runs on the same data. If `batched`, those that differ in nothing
    but the seed are trained together. On Ctrl-C, `resume_command` is shown.
    Raises RunFolderError when a folder is there with other settings.
    """
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.run_folder import RunFolder
    from experiments.train_run import is_finished

    chosen_device = choose_device(device)
    data = load_data(wanted[0][2].data, data_dir, download=False)
    groups: dict[RunSettings | int, list[tuple[str, Path, RunSettings]]] = {}
    for number, entry in enumerate(wanted):
        groups.setdefault(replace(entry[2], seed=0) if batched else number, []).append(entry)
    count = 0
    for entries in groups.values():
        group = [(name, RunFolder.take_up(path, settings)) for name, path, settings in entries]
        count += len(group)
        if unfinished := [run for _, run in group if not is_finished(run)]:
            print(f"run {count} of {len(wanted)}: {', '.join(str(run.path) for run in unfinished)}", flush=True)
            if batched:
                train_batch_or_explain_stop(unfinished, data, chosen_device, resume_command)
            else:
                train_or_explain_stop(unfinished[0], data, chosen_device, resume_command)
        yield from group


def trained_steps(
    group: Path,
    seeds: str,
    settings: Callable[[int], Mapping[str, Any]],
    training: Callable[[Any], StepwiseTraining],
) -> dict[str, list[RecordFolder]]:
    """The stepwise runs of all seeds by name: trained, taken up again, lengthened, or found finished.

    `settings` gives a seed's settings by run name, `training` what trains under some settings.
    """
    from experiments.lengthening import begin_from_shorter
    from experiments.run_folder import RecordFolder
    from experiments.run_group import parse_seeds, seed_folder
    from experiments.schedule import log_spaced_epochs
    from experiments.steps import is_trained, train_steps

    wanted = [(name, seed, chosen) for seed in parse_seeds(seeds) for name, chosen in settings(seed).items()]
    runs: dict[str, list[RecordFolder]] = {}
    for count, (name, seed, chosen) in enumerate(wanted, start=1):
        path = seed_folder(group / name, seed)
        begin_from_shorter(path, chosen, chosen.steps)
        run = RecordFolder.take_up(path, chosen)
        if not is_trained(run, chosen.steps):
            print(f"run {count} of {len(wanted)}: {run.path}", flush=True)
            logged = log_spaced_epochs(chosen.steps, chosen.logs_per_decade)
            try:
                train_steps(run, training(chosen), chosen.steps, logged)
            except KeyboardInterrupt:
                message = f"splinegeo: stopped; the same command takes up {run.path} where it was last saved"
                print(message, file=sys.stderr)
                raise typer.Exit(130) from None
        runs.setdefault(name, []).append(run)
    return runs
