"""Pictures as a video: GIF by Pillow, MP4 and WebM by ffmpeg; the file appears whole or not at all."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from viz.errors import DrawingError

VIDEO_SUFFIXES = (".mp4", ".webm", ".gif")
# Quality of the encoders: text and thin lines stay clear.
_ENCODERS = {
    ".mp4": ["-c:v", "libx264", "-crf", "19", "-preset", "medium", "-movflags", "+faststart", "-f", "mp4"],
    ".webm": ["-c:v", "libvpx-vp9", "-crf", "26", "-b:v", "0", "-row-mt", "1", "-cpu-used", "3", "-f", "webm"],
}
_GIF_COLORS = 256


def find_ffmpeg() -> str | None:
    """The ffmpeg program: that of the package imageio-ffmpeg, else the system's; None if there is neither."""
    try:
        return str(import_module("imageio_ffmpeg").get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return shutil.which("ffmpeg")


def check_video_path(path: Path) -> None:
    """Raise `DrawingError` if a video of this name cannot be written here: an unknown suffix, or no ffmpeg for it."""
    if path.suffix not in VIDEO_SUFFIXES:
        raise DrawingError(f"videos are written as {', '.join(VIDEO_SUFFIXES)}, not {path.name}")
    if path.suffix in _ENCODERS and find_ffmpeg() is None:
        raise DrawingError(
            f"{path.suffix} needs ffmpeg: pip install 'splinegeo[video]', or name a .gif, which needs nothing"
        )


def write_video(
    path: Path, frames: Iterable[UInt8[np.ndarray, "height width 3"]], frames_per_second: float, hold: float = 1.5
) -> None:
    """Write pictures of one even size as .mp4, .webm or .gif; the last one stays for `hold` seconds.

    Raises `DrawingError` as `check_video_path` does, for no pictures or different sizes, and when ffmpeg fails.
    """
    check_video_path(path)
    checked = _of_one_size(frames)
    temporary = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        if path.suffix == ".gif":
            _write_gif(temporary, checked, frames_per_second, hold)
        else:
            _write_by_ffmpeg(temporary, path.suffix, checked, frames_per_second, hold)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _of_one_size(frames: Iterable[np.ndarray]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    size = None
    for frame in frames:
        size = size or frame.shape
        if frame.shape != size or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise DrawingError(f"a video needs pictures of one shape (height, width, 3), got {size} and {frame.shape}")
        yield frame
    if size is None:
        raise DrawingError("a video needs at least one picture")


def _write_gif(path: Path, frames: Iterator[np.ndarray], frames_per_second: float, hold: float) -> None:
    pictures = [Image.fromarray(frame) for frame in frames]
    palette = _common_palette(pictures)
    # One palette for all: else the same region would change its shade from frame to frame.
    reduced = [picture.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for picture in pictures]
    step = max(20, round(1000 / frames_per_second))
    durations = [step] * (len(reduced) - 1) + [step + round(1000 * hold)]
    with open(path, "wb") as file:
        reduced[0].save(
            file, format="gif", save_all=True, append_images=reduced[1:], duration=durations, loop=0, disposal=1
        )


def _common_palette(pictures: list[Image.Image]) -> Image.Image:
    chosen = [pictures[index] for index in np.unique(np.linspace(0, len(pictures) - 1, 12).round().astype(int))]
    thumbnails = [np.asarray(picture.reduce(2)) for picture in chosen]
    return Image.fromarray(np.concatenate(thumbnails)).quantize(_GIF_COLORS, method=Image.Quantize.FASTOCTREE)


def _write_by_ffmpeg(
    path: Path, suffix: str, frames: Iterator[np.ndarray], frames_per_second: float, hold: float
) -> None:
    program = find_ffmpeg()
    assert program is not None  # check_video_path has looked
    first = next(frames)
    height, width, _ = first.shape
    if height % 2 or width % 2:
        raise DrawingError(f"a {suffix} needs pictures of even width and height, not {width}x{height}")
    size, rate = f"{width}x{height}", f"{frames_per_second:g}"
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", "-"]
    target = ["-an", "-pix_fmt", "yuv420p", *_ENCODERS[suffix], str(path)]
    command = [program, "-y", "-loglevel", "error", *source, *target]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        assert process.stdin is not None
        last = first
        try:
            for last in chain([first], frames):
                process.stdin.write(last.tobytes())
            for _ in range(round(hold * frames_per_second)):
                process.stdin.write(last.tobytes())
        except BrokenPipeError:
            pass  # its exit code and its log say why
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.wait()
        if process.returncode != 0:
            log.seek(0)
            reason = " ".join(log.read().decode(errors="replace").split())[-200:]
            raise DrawingError(f"ffmpeg could not write the video: {reason or f'exit code {process.returncode}'}")
