"""The explorer without a window: what is made when, in which thread, what is kept, and what happens to errors."""

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from explorer_cases import SmallSource, partition, wait_until

import splinegeo as sg
from splinegeo.progress import tell
from viz.coloring import COLORINGS, Coloring
from viz.errors import DrawingError
from viz.explorer_frame import BOUNDARY, Frame, FrameKey, make_frame
from viz.explorer_loader import FrameLoader, Wish
from viz.explorer_session import Session
from viz.explorer_slices import random_slice
from viz.explorer_source import Moment, PartitionSource
from viz.explorer_window import Window

WORKERS = ("splinegeo frames", "splinegeo quantities")


@pytest.fixture
def source() -> SmallSource:
    return SmallSource()


class SlowNorm:
    """Stands in for a norm that takes minutes: it tells of its progress, and goes on only when it may."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.begun: list[sg.Partition] = []
        self.ended: list[sg.Partition] = []
        self.by_norm = COLORINGS["norm"]

    def __call__(self, part: sg.Partition) -> Coloring:
        self.begun.append(part)
        try:
            while not self.may_go_on.wait(0.01):
                tell(1, 4)
        except BaseException:
            self.ended.append(part)
            raise
        return self.by_norm(part)


@pytest.fixture
def slow_norm(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNorm]:
    norm = SlowNorm()
    monkeypatch.setitem(COLORINGS, "norm", norm)
    yield norm
    norm.may_go_on.set()


def key_of(source: SmallSource, index: int, window: Window | None = None) -> FrameKey:
    return FrameKey(source.moments()[index], source.first, window or source.first.window)


def test_a_frame_is_the_partition_that_the_library_finds(source: SmallSource):
    key = key_of(source, 3)
    frame = make_frame(source, key)
    expected = sg.enumerate_regions(source.model(key.moment), key.choice.plane)
    assert frame.partition.n_regions == expected.n_regions
    np.testing.assert_allclose(np.sort(frame.partition.areas), np.sort(expected.areas))
    np.testing.assert_allclose(frame.points, key.choice.plane.points)
    x = source.samples.x[:3].reshape(3, -1)
    np.testing.assert_allclose(frame.centroids, key.choice.plane.project(source.centroids(key.moment, x)))
    frame.work_out(BOUNDARY)
    length = np.linalg.norm(frame.boundary[:, 1] - frame.boundary[:, 0], axis=1).sum()
    assert length == pytest.approx(expected.decision_boundary().length)


def test_a_frame_finds_and_outlines_regions_in_its_world(source: SmallSource):
    frame = make_frame(source, key_of(source, 0, Window((1.0, 0.5), 0.7)))
    for region in (0, frame.partition.n_regions - 1):
        world = frame.key.window.to_world(frame.partition.interior_points[region][None])[0]
        assert frame.locate(world) == region
        sides = frame.outline(region)
        x, y = sides[:, 0].T
        following = sides[:, 1]
        area = 0.5 * abs(np.sum(x * following[:, 1] - y * following[:, 0]))
        assert area == pytest.approx(frame.partition.areas[region])
        np.testing.assert_array_equal(np.roll(sides[:, 0], -1, axis=0), following)
    assert frame.locate(np.array([5.0, 0.0])) == -1


def test_the_loader_makes_the_most_urgent_first_and_never_twice(source: SmallSource):
    done: list[Wish] = []
    loader = FrameLoader(lambda key: make_frame(source, key), lambda wish, _: done.append(wish))
    wishes = [Wish(key_of(source, index), item) for index in (4, 1, 2) for item in ("norm", BOUNDARY)]
    loader.wish(wishes)
    wait_until(lambda: len(done) == 6)
    assert done == wishes
    assert source.asked == ["4", "1", "2"]
    assert source.threads == {"splinegeo frames"}
    loader.wish(wishes)
    loader.wish([Wish(key_of(source, 4), "area")])
    wait_until(lambda: loader.ready(key_of(source, 4), "area") is not None)
    assert source.asked == ["4", "1", "2"]
    loader.close()


def test_a_new_wish_replaces_what_has_not_begun(source: SmallSource):
    source.may_go_on.clear()
    loader = FrameLoader(lambda key: make_frame(source, key), lambda wish, _: None)
    loader.wish([Wish(key_of(source, index), "norm") for index in range(5)])
    wait_until(lambda: source.asked == ["0"])
    loader.wish([Wish(key_of(source, 5), "norm")])
    source.may_go_on.set()
    wait_until(lambda: loader.ready(key_of(source, 5), "norm") is not None)
    assert source.asked == ["0", "5"]
    loader.close()


def test_old_frames_make_room(source: SmallSource):
    sizes = [make_frame(source, key_of(source, index)).partition.n_regions for index in range(6)]
    loader = FrameLoader(lambda key: make_frame(source, key), lambda wish, _: None, room=sizes[4] + sizes[5])
    for index in range(6):
        loader.wish([Wish(key_of(source, index), "norm")])
        wait_until(lambda index=index: loader.ready(key_of(source, index), "norm") is not None)
    assert [index for index in range(6) if loader.ready(key_of(source, index))] == [4, 5]
    loader.close()


def test_errors_are_told_and_the_loader_goes_on(source: SmallSource):
    source.fails_at = 1
    told: list[Frame | Exception] = []
    loader = FrameLoader(lambda key: make_frame(source, key), lambda _, result: told.append(result))
    loader.wish([Wish(key_of(source, 1), "norm"), Wish(key_of(source, 2), "norm"), Wish(key_of(source, 2), "nothing")])
    wait_until(lambda: len(told) == 3)
    assert isinstance(told[0], sg.InvalidNetworkError)
    assert {type(result) for result in told[1:]} == {Frame, DrawingError}  # from two threads, in either order
    source.fails_at = None
    loader.wish([Wish(key_of(source, 1), "norm")])  # a new wish tries again
    wait_until(lambda: loader.ready(key_of(source, 1), "norm") is not None)
    loader.close()
    assert {thread.name for thread in loader._threads} == set(WORKERS)
    assert not any(thread.is_alive() for thread in loader._threads)


def test_closing_does_not_wait_for_what_was_not_begun(source: SmallSource):
    source.may_go_on.clear()
    loader = FrameLoader(lambda key: make_frame(source, key), lambda wish, _: None)
    loader.wish([Wish(key_of(source, index), "norm") for index in range(6)])
    wait_until(lambda: len(source.asked) == 1)
    closing = threading.Thread(target=loader.close)
    closing.start()
    wait_until(lambda: loader._closed)
    source.may_go_on.set()
    closing.join()
    assert not any(thread.is_alive() for thread in loader._threads)
    assert len(source.asked) == 1


def test_a_session_shows_the_last_moment_and_prefetches_its_neighbours(source: SmallSource):
    calls = []
    session = Session(source, lambda: calls.append(threading.current_thread().name))
    assert session.index == 5
    assert session.frame is None
    session.go_to(2)
    wait_until(lambda: session.frame is not None)
    wait_until(lambda: all(session.is_ready(index) for index in (1, 2, 3, 4, 5)))
    assert source.asked[:2] == ["2", "3"]  # forwards first
    assert not session.is_ready(0)
    assert set(calls) <= set(WORKERS)
    made = len(source.asked)
    session.go_to(3)
    assert session.frame is not None  # at once
    assert session.frame.key.moment.key == "3"
    wait_until(lambda: len(source.asked) == made or session.is_ready(5))
    session.close()


def test_a_session_begins_before_anybody_listens(source: SmallSource):
    session = Session(source)
    said, tell_session = [], session._loader._on_ready

    def followed(wish: Wish, result: Frame | Exception) -> None:
        tell_session(wish, result)
        said.append(wish)

    session._loader._on_ready = followed
    session.go_to(0)
    wait_until(lambda: {wish.item for wish in said if wish.key == session.key} == {"area", "norm", BOUNDARY})
    assert session.frame is not None
    told = threading.Event()
    session.listen(told.set, lambda: None)
    assert not told.is_set()
    session.color_by("stage")
    assert told.wait(30)
    session.close()


def test_recolouring_keeps_the_frame(source: SmallSource):
    session = Session(source, lambda: None)
    session.go_to(0)
    wait_until(lambda: session.frame is not None)
    before = session.frame
    session.color_by("area")
    wait_until(lambda: session.frame is not None)
    assert session.frame is before
    assert set(before.colorings) >= {"norm", "area"}
    assert source.asked.count("0") == 1
    session.close()


def test_cut_resize_and_look(source: SmallSource):
    session = Session(source, lambda: None)
    session.go_to(0)
    choice = random_slice(source.samples, 5)
    session.cut(choice)
    wait_until(lambda: session.frame is not None)
    assert session.frame.partition.plane is choice.plane
    session.resize(0.5)
    assert session.choice.window.half_width == 0.5
    wait_until(lambda: session.frame is not None)
    np.testing.assert_allclose(np.ptp(session.frame.partition.domain, axis=0), 1.0)
    near = Window((0.1, 0.1), 0.01)
    session.look_at(near)
    wait_until(lambda: session.frame is not None)
    assert session.frame.key.window == near
    assert session.choice.window.half_width == 0.5  # the whole stays what it was
    session.close()


def test_an_error_reaches_the_session_and_goes_when_something_else_is_asked(source: SmallSource):
    source.fails_at = 4
    session = Session(source, lambda: None)
    session.go_to(4)
    wait_until(lambda: session.error is not None)
    assert "overflow" in str(session.error)
    session.go_to(3)
    assert session.error is None
    wait_until(lambda: session.frame is not None)
    session.close()


def test_polling_follows_a_growing_run_only_from_its_end(source: SmallSource):
    source.is_growing = True
    session = Session(source, lambda: None)
    session.go_to(5)
    assert session.follows
    assert not session.poll()
    source.n_moments = 8
    assert session.poll()
    assert session.index == 7
    session.go_to(2)
    assert not session.follows
    source.n_moments = 9
    assert session.poll()
    assert session.index == 2
    assert session.moments[2].key == "2"
    session.close()


def test_a_session_can_wait_for_the_first_moment():
    source = SmallSource(n_moments=0, is_growing=True)
    session = Session(source, lambda: None)
    assert session.key is None
    assert session.frame is None
    session.ask()
    source.n_moments = 1
    assert session.poll()
    wait_until(lambda: session.frame is not None)
    session.close()


def test_a_partition_is_shown_as_it_is_and_its_network_enumerated_elsewhere():
    part = partition()
    source = PartitionSource(part, "file")
    session = Session(source, lambda: None, coloring="mine", custom={"mine": np.arange(part.n_regions)})
    session.ask()
    wait_until(lambda: session.frame is not None)
    assert session.frame.partition is part
    np.testing.assert_array_equal(session.frame.colorings["mine"].values, np.arange(part.n_regions))
    regions = part.locate(part.plane.points)
    np.testing.assert_allclose(session.frame.centroids, part.plane.project(part.centroids(regions)))
    session.look_at(Window((0.0, 0.0), 0.2))  # the numbers are not known for these regions
    wait_until(lambda: session.error is not None)
    assert "whole slice" in str(session.error)
    session.color_by("norm")
    wait_until(lambda: session.frame is not None)
    model_norms = sg.enumerate_regions(part.network, part.plane, sg.Box(0.2)).operator_norms()
    np.testing.assert_allclose(np.sort(session.frame.partition.operator_norms()), np.sort(model_norms))
    session.close()


def test_asking_does_not_block(source: SmallSource):
    source.may_go_on.clear()
    session = Session(source, lambda: None)
    session.go_to(0)  # comes back, although the network does not
    assert not source.may_go_on.is_set()
    assert session.frame is None
    wait_until(lambda: source.asked == ["0"])
    assert source.threads == {"splinegeo frames"}
    source.may_go_on.set()
    session.close()


def test_a_long_quantity_keeps_nothing_waiting(source: SmallSource, slow_norm: SlowNorm):
    session = Session(source, lambda: None)
    session.go_to(0)
    wait_until(lambda: slow_norm.begun)
    session.color_by("area")
    wait_until(lambda: session.frame is not None)
    session.go_to(5)
    wait_until(lambda: session.frame is not None)
    assert session.frame.key.moment.key == "5"
    session.close()


def test_what_nobody_waits_for_any_more_is_ended_and_taken_up_again(source: SmallSource, slow_norm: SlowNorm):
    session = Session(source, lambda: None)
    session.go_to(0)
    wait_until(lambda: slow_norm.begun)
    frame = session._loader.ready(session.key)
    session.cut(random_slice(source.samples, 5))
    wait_until(lambda: slow_norm.ended == [frame.partition])
    assert session.error is None
    slow_norm.may_go_on.set()
    session.cut(source.first)
    wait_until(lambda: session.frame is not None)
    assert session.frame is frame
    np.testing.assert_array_equal(frame.colorings["norm"].values, frame.partition.operator_norms())
    session.close()


def test_what_is_asked_for_now_goes_before_what_is_made_ahead(source: SmallSource, slow_norm: SlowNorm):
    session = Session(source, lambda: None, coloring="radius")
    session.go_to(2)
    wait_until(lambda: all(session.is_ready(index) for index in (1, 2, 3, 4, 5)))
    session.color_by("norm")
    wait_until(lambda: slow_norm.begun)
    assert slow_norm.begun[-1] is session._loader.ready(session.key).partition
    session.go_to(4)  # 2 is out of the way, and 4 is wanted first
    wait_until(lambda: slow_norm.begun[-1] is session._loader.ready(session.key).partition)
    session.close()


def test_an_enumeration_is_ended_when_the_slider_has_moved_on(source: SmallSource):
    entered = threading.Event()
    ended = []

    class Endless(SmallSource):
        def partition(self, moment: Moment, plane: sg.Slice, window: Window) -> sg.Partition | None:
            if moment.key != "0":
                return None
            entered.set()
            try:
                while True:
                    tell(1, 2)
                    time.sleep(0.01)
            except BaseException:
                ended.append(moment.key)
                raise

    session = Session(Endless(), lambda: None)
    session.go_to(0)
    assert entered.wait(60)
    session.go_to(5)
    wait_until(lambda: session.frame is not None)
    assert ended == ["0"]
    entered.clear()
    session.go_to(0)
    assert entered.wait(60)
    session.close()  # also ends it
    assert ended == ["0", "0"]


def test_progress_is_that_of_what_is_asked_for(source: SmallSource, slow_norm: SlowNorm, monkeypatch):
    monkeypatch.setattr("viz.explorer_session._MANY", 10)
    told = threading.Event()
    session = Session(source, lambda: None, on_progress=told.set)
    session.go_to(0)
    assert told.wait(60)
    assert session.progress == ("norm", 0.25)
    session.color_by("area")
    progress = session.progress
    assert progress is None or progress[0] == BOUNDARY  # which is always asked for, and may have begun by now
    slow_norm.may_go_on.set()
    session.color_by("norm")
    wait_until(lambda: session.frame is not None and session.frame.has("norm") and session.frame.has(BOUNDARY))
    assert session.progress is None
    session.close()


def test_frames_are_made_ahead_only_while_there_is_room(source: SmallSource):
    size = make_frame(source, key_of(source, 0)).partition.n_regions
    loader = FrameLoader(lambda key: make_frame(source, key), lambda wish, _: None, room=2 * size)
    wishes = [Wish(key_of(source, index), "norm") for index in (0, 0, 1, 2, 3, 4)]
    loader.wish(wishes)
    wait_until(lambda: loader.ready(key_of(source, 0), "norm") and loader.ready(key_of(source, 1), "norm"))
    time.sleep(0.1)
    made = [index for index in range(6) if loader.ready(key_of(source, index))]
    assert made[:2] == [0, 1]
    assert len(made) < 5
    loader.wish(wishes[3:])  # what is asked for now is made in any case
    wait_until(lambda: loader.ready(key_of(source, 2), "norm"))
    loader.close()


@pytest.mark.parametrize("many", [10, 10**6])
def test_a_large_partition_is_shown_before_its_colouring(
    source: SmallSource, many: int, monkeypatch: pytest.MonkeyPatch
):
    may_go_on = threading.Event()
    by_norm = COLORINGS["norm"]

    def slow_norm(part: sg.Partition) -> Coloring:
        may_go_on.wait(60)
        return by_norm(part)

    monkeypatch.setitem(COLORINGS, "norm", slow_norm)
    monkeypatch.setattr("viz.explorer_session._MANY", many)
    told = threading.Event()
    session = Session(source, told.set)
    session.go_to(0)
    assert told.wait(60)  # the provisional colouring is there
    early = session.frame
    if many == 10:
        assert early is not None
        assert set(early.colorings) == {"area"}
    else:
        assert early is None
    may_go_on.set()
    wait_until(lambda: session.frame is not None and session.frame.has("norm"))
    assert early in (None, session.frame)
    session.close()
