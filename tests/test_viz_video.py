"""Videos: what a player would show, whole files only, and clear refusals."""

import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from viz import video
from viz.errors import DrawingError
from viz.video import check_video_path, write_video

SHADES = [(200, 40, 60), (30, 160, 90), (40, 70, 190), (240, 230, 200)]
# Stands in for ffmpeg: keeps its arguments and the pictures that it was given, or fails as it is told.
FFMPEG = """#!{python}
import json, pathlib, sys
arguments = sys.argv[1:]
if pathlib.Path({log!r}).with_suffix(".fail").exists():
    sys.exit("no such codec")
pathlib.Path({log!r}).write_text(json.dumps(arguments))
pathlib.Path(arguments[-1]).write_bytes(sys.stdin.buffer.read())
"""


def frames(size: tuple[int, int] = (24, 32)) -> list[np.ndarray]:
    return [np.full((*size, 3), shade, dtype=np.uint8) for shade in SHADES]


@pytest.fixture
def ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "program"
    folder.mkdir()
    program, log = folder / "ffmpeg", folder / "log.json"
    program.write_text(FFMPEG.format(python=sys.executable, log=str(log)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(video, "find_ffmpeg", lambda: str(program))
    return log


def test_gif_shows_the_frames(tmp_path: Path):
    write_video(tmp_path / "a.gif", iter(frames()), frames_per_second=5.0, hold=2.0)
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.n_frames, picture.size) == (4, (32, 24))
        assert picture.info["loop"] == 0
        for index, shade in enumerate(SHADES):
            picture.seek(index)
            assert picture.info["duration"] == (2200 if index == 3 else 200)
            pixels = np.asarray(picture.convert("RGB")).astype(int)
            assert np.abs(pixels.reshape(-1, 3).mean(axis=0) - shade).max() < 8
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.webm", "libvpx-vp9")])
def test_ffmpeg_gets_every_pixel(tmp_path: Path, ffmpeg: Path, name: str, codec: str):
    write_video(tmp_path / name, iter(frames()), frames_per_second=4.0, hold=0.5)
    given = np.frombuffer((tmp_path / name).read_bytes(), dtype=np.uint8).reshape(-1, 24, 32, 3)
    np.testing.assert_array_equal(given, np.stack([*frames(), frames()[-1], frames()[-1]]))
    arguments = ffmpeg.read_text()
    for expected in ('"32x24"', '"rgb24"', '"yuv420p"', f'"{codec}"', '"-r", "4"'):
        assert expected in arguments
    assert not list(tmp_path.glob("*.part"))


def test_a_failing_ffmpeg_is_explained(tmp_path: Path, ffmpeg: Path):
    ffmpeg.with_suffix(".fail").touch()
    (tmp_path / "a.mp4").write_bytes(b"old")
    with pytest.raises(DrawingError, match="ffmpeg could not write the video: no such codec"):
        write_video(tmp_path / "a.mp4", iter(frames((480, 640))), frames_per_second=4.0)
    assert (tmp_path / "a.mp4").read_bytes() == b"old"
    assert not list(tmp_path.glob("*.part"))


def test_an_error_on_the_way_leaves_the_old_file(tmp_path: Path, ffmpeg: Path):
    def broken():
        yield frames()[0]
        raise RuntimeError("stop")

    for name in ("a.mp4", "a.gif"):
        (tmp_path / name).write_bytes(b"old")
        with pytest.raises(RuntimeError, match="stop"):
            write_video(tmp_path / name, broken(), frames_per_second=4.0)
        assert (tmp_path / name).read_bytes() == b"old"
    assert not list(tmp_path.glob("*.part"))


def test_without_ffmpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert video.find_ffmpeg() is None
    with pytest.raises(DrawingError, match=r"\.mp4 needs ffmpeg: pip install 'splinegeo\[video\]', or name a \.gif"):
        check_video_path(tmp_path / "a.mp4")
    check_video_path(tmp_path / "a.gif")


def test_other_refusals(tmp_path: Path, ffmpeg: Path):
    with pytest.raises(DrawingError, match="videos are written as"):
        check_video_path(tmp_path / "a.avi")
    with pytest.raises(DrawingError, match="at least one picture"):
        write_video(tmp_path / "a.gif", [], frames_per_second=4.0)
    with pytest.raises(DrawingError, match="one shape"):
        write_video(tmp_path / "a.gif", [frames()[0], frames((8, 8))[0]], frames_per_second=4.0)
    with pytest.raises(DrawingError, match="even width"):
        write_video(tmp_path / "a.mp4", frames((24, 31)), frames_per_second=4.0)
    assert [path.name for path in tmp_path.iterdir()] == ["program"]
