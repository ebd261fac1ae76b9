"""`splinegeo migrate`: the regions of one slice over all checkpoints of a run, as a video and as a strip of stills."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import typer

from experiments import migrate_options as options
from experiments.cache_options import Cache, CacheGigabytes
from experiments.options import DataDir, Device, Download, Run
from experiments.run_path import check_run_path
from experiments.slice_options import HalfWidth, Points, PointsSeed, check_points_seed


def migrate(
    context: typer.Context,
    run: Run,
    points: Points = "0,1,2",
    half_width: HalfWidth = None,
    window: options.Window = None,
    frames: options.Frames = None,
    seed: PointsSeed = 0,
    color: options.Color = "norm",
    out: options.Out = None,
    strip: options.Strip = None,
    still_epochs: options.StillEpochs = None,
    frames_per_second: options.FramesPerSecond = 6.0,
    width: options.Width = 1280,
    theme: options.PaperTheme = "light",
    jobs: options.Jobs = None,
    cache: Cache = None,
    cache_gigabytes: CacheGigabytes = 4.0,
    data_dir: DataDir = Path("data"),
    download: Download = False,
    device: Device = "auto",
) -> None:
    """Show how the linear regions move over training: one slice at every checkpoint, as a video and a strip of stills.

    The partitions are kept in RUN/migration (about 0.2 MB for each thousand regions, 4 GB at most) and found again by
    the next call, also after an interruption; the folder may be deleted at any time. Enumeration runs on the CPU in
    float64; --device is where the data are prepared.
    """
    check_points_seed(context, points)
    check_run_path(run)
    import torch

    from experiments import migration_record as record
    from experiments.data import load_data
    from experiments.device import choose_device
    from experiments.frame_regions import FrameTask, PictureTask, draw_pictures, summarise
    from experiments.partition_cache import PartitionCache
    from experiments.processes import processes
    from experiments.run_folder import RunFolder
    from experiments.run_regions import slice_points
    from splinegeo.processors import n_processors
    from viz.color_scale import shared_norm
    from viz.migration_frames import migration_frames
    from viz.style import style
    from viz.video import check_video_path, find_ffmpeg, write_video

    video = out or run / ("migration.mp4" if find_ffmpeg() else "migration.gif")
    stills = strip or run / "migration_strip.png"
    if color not in ("norm", "pattern"):
        raise typer.BadParameter(f"--color must be norm or pattern, got {color!r}")
    if stills.suffix not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"--strip must end in .png, .pdf or .svg, got {stills}")
    if window is not None and not 0 <= window < float("inf"):
        raise typer.BadParameter(f"--window must be a half-width, or 0 for none, got {window:g}")
    check_video_path(video)
    folder = RunFolder.open(run)
    epochs = record.chosen_epochs(folder, frames)
    epochs_of_stills = record.still_epochs(folder, still_epochs, epochs)
    images = load_data(folder.settings.data, data_dir, download).to(choose_device(device), torch.float64)
    indices = slice_points(points, images, seed)
    of_points = replace(
        images.to(torch.device("cpu"), torch.float64),
        x_train=images.x_train[indices].cpu(),
        y_train=images.y_train[indices].cpu(),
        x_test=images.x_test[:1].cpu(),
        y_test=images.y_test[:1].cpu(),
    )
    squares = record.window_half_width(of_points) if window is None else window or None
    processors = n_processors()
    jobs = min(jobs or processors, len(epochs))
    kept = PartitionCache.of_run(folder.path, cache, cache_gigabytes)
    first = FrameTask(folder.path, epochs[0], of_points, half_width, max(1, processors // jobs), kept)
    tasks = [replace(first, epoch=epoch) for epoch in epochs]
    try:
        with style(theme), processes(jobs, "frames") as run_all:
            summaries = list(run_all(summarise, tasks, "enumerating"))
            reused = sum(summary.reused for summary in summaries)
            print(f"partitions: {len(summaries)}, {reused} of them were in {kept.folder}")
            scale = None if color == "pattern" else shared_norm([summary.norm_quantiles for summary in summaries])
            migration = record.migration_of(folder, of_points, epochs, summaries, scale, squares)
            of_stills = [replace(first, epoch=epoch) for epoch in epochs_of_stills]
            print(f"strip: {record.draw_stills(stills, migration, of_stills, folder)}")
            drawings = [PictureTask(task, scale, squares, width, theme) for task in tasks]
            pictures = run_all(draw_pictures, drawings, "drawing")
            write_video(video, migration_frames(migration, pictures, width), frames_per_second)
    except KeyboardInterrupt:
        there = f"{kept.count()} partitions are in {kept.folder}"
        print(f"splinegeo: stopped; {there}, the same command goes on there", file=sys.stderr)
        raise typer.Exit(130) from None
    print(f"video: {video} ({len(epochs)} checkpoints)")
