"""Regions in discs and polygons, against closed forms, shapely and sums of areas."""

import numpy as np
import pytest
import shapely
from networks import IDENTITY_PLANE, linear, mlp, workload
from property_networks import Recipe
from torch import nn

import splinegeo as sg
from splinegeo._disc_overlap import overlap_disc
from splinegeo.selection import Selection, regions_in_disc, regions_in_polygon

SIDES = 1 << 16
# What the inscribed polygon of so many sides misses of the circle's area.
POLYGON_GAP = (2 * np.pi / SIDES) ** 2 / 6


def one_region(domain: np.ndarray | sg.Box) -> sg.Partition:
    return sg.enumerate_regions(nn.Linear(2, 1), IDENTITY_PLANE, domain)


def one_overlap(domain: np.ndarray | sg.Box, center: tuple[float, float], radius: float) -> float:
    """Area that a disc shares with a convex polygon; 0 if they do not meet."""
    selection = regions_in_disc(one_region(domain), center, radius)
    assert len(selection) in (0, 1)
    return selection.area


def inscribed_polygon(center: np.ndarray, radius: float) -> shapely.Polygon:
    angles = np.arange(SIDES) * (2 * np.pi / SIDES)
    return shapely.Polygon(center + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1))


def circular_segment(radius: float, distance: float) -> float:
    """Area of the smaller part that a line at this distance from the center cuts off a disc."""
    return radius**2 * np.arccos(distance / radius) - distance * np.sqrt(radius**2 - distance**2)


@pytest.mark.parametrize(
    ("center", "radius", "area"),
    [
        ((0.1, -0.2), 0.5, np.pi * 0.25),  # inside
        ((0.1, -0.2), 5.0, 4.0),  # around the square
        ((0.0, 0.0), np.sqrt(2.0), 4.0),  # through its corners
        ((0.0, 0.0), 1.0, np.pi),  # touches its sides
        ((0.0, 0.0), 1.2, np.pi * 1.44 - 4 * circular_segment(1.2, 1.0)),
        ((1.0, 1.0), 0.5, np.pi / 16),  # about a corner
        ((1.0, 0.3), 0.5, np.pi / 8),  # about a point of a side
        ((1.2, 0.0), 0.5, circular_segment(0.5, 0.2)),  # its center outside
        ((0.8, 0.0), 0.5, np.pi / 4 - circular_segment(0.5, 0.2)),  # an arc of more than half a turn
        ((-3.0, 0.0), 3.0, None),  # nearly straight
        ((1.5, 0.0), 0.5, 0.0),  # touches from outside
        ((4.0, 4.0), 1.0, 0.0),  # outside
    ],
)
def test_disc_and_square_in_closed_form(center: tuple[float, float], radius: float, area: float | None) -> None:
    if area is None:  # x from -1 to sqrt(9 - y²) - 3, y from -1 to 1
        area = 2 * (np.sqrt(8.0) / 2 + 4.5 * np.arcsin(1 / 3)) - 4.0
    assert one_overlap(sg.Box(1.0), center, radius) == pytest.approx(area, rel=1e-13, abs=1e-15)


@pytest.mark.parametrize("excess", [0.0, 1e-15, 1e-12, 1e-8, 1e-4])
def test_discs_that_barely_leave_the_square(excess: float) -> None:
    expected = np.pi * (1 + excess) ** 2 - 4 * circular_segment(1 + excess, 1.0)
    assert one_overlap(sg.Box(1.0), (0.0, 0.0), 1 + excess) == pytest.approx(expected, rel=1e-12)
    around = np.sqrt(2.0) * (1 + excess)
    assert one_overlap(sg.Box(1.0), (0.0, 0.0), around) == pytest.approx(4.0, rel=1e-13)
    inside = np.sqrt(2.0) * (1 - excess)
    assert one_overlap(sg.Box(1.0), (0.0, 0.0), inside) <= 4.0


@pytest.mark.parametrize("size", [1e-7, 1e-3, 1.0, 1e4])
def test_the_digits_of_small_regions_far_away(size: float) -> None:
    """The square is cut in half by a circle that is nearly straight at its scale: the rest is a circular segment."""
    far = 2.0**10
    radius = far * size
    square = size * np.array([[0.0, -1.0], [1.0, -1.0], [1.0, 1.0], [0.0, 1.0]])
    half_angle = np.arcsin(1 / far)
    sliver = radius**2 * (2 * half_angle) ** 3 / 12 * (1 - (2 * half_angle) ** 2 / 20)
    chord_at = radius * np.cos(half_angle) - (radius - size / 2)
    expected = 2 * size * chord_at + sliver
    assert one_overlap(square, (size / 2 - radius, 0.0), radius) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_discs_and_random_convex_polygons(seed: int) -> None:
    generator = np.random.default_rng(seed)
    hull = shapely.convex_hull(shapely.MultiPoint(generator.normal(size=(9, 2))))
    polygon = np.array(hull.exterior.coords)[::-1][1:]
    partition = one_region(polygon)
    for _ in range(20):
        center, radius = generator.normal(size=2) * 1.5, generator.uniform(0.05, 2.5)
        disc = inscribed_polygon(center, radius)
        gap = POLYGON_GAP * np.pi * radius**2
        expected = disc.intersection(hull).area
        assert expected - 1e-13 <= regions_in_disc(partition, center, radius).area <= expected + gap + 1e-13


def brute_force_disc(partition: sg.Partition, center: np.ndarray, radius: float) -> Selection:
    polygons = partition.to_shapely()
    ids = np.nonzero(shapely.distance(polygons, shapely.Point(center)) < radius)[0]
    disc = inscribed_polygon(center, radius)
    return Selection(ids, shapely.area(shapely.intersection(polygons[ids], disc)))


@pytest.mark.parametrize(
    ("name", "center", "radius"),
    [
        ("S", (0.5, -1.0), 2.0),
        ("S", (9.5, 9.5), 1.5),
        ("B", (0.1, 0.2), 0.1),
        ("leaky biased", (0.0, 0.5), 0.8),
        ("leaky biased", (-3.0, 0.0), 1.2),
    ],
)
def test_regions_in_a_disc(name: str, center: tuple[float, float], radius: float) -> None:
    partition = workload(name).partition
    selection = regions_in_disc(partition, center, radius)
    expected = brute_force_disc(partition, np.array(center), radius)
    np.testing.assert_array_equal(selection.regions, expected.regions)
    # shapely's disc is a polygon: a region misses at most what lies between it and the circle
    gap = POLYGON_GAP * np.pi * radius**2
    np.testing.assert_allclose(selection.overlaps, expected.overlaps, rtol=0, atol=gap + 1e-13)
    domain = one_region(partition.domain)
    assert selection.area == pytest.approx(regions_in_disc(domain, center, radius).area, rel=1e-12)


def test_discs_of_all_sizes_add_up() -> None:
    partition = workload("M").partition
    generator = np.random.default_rng(5)
    for radius in (1e-6, 1e-3, 0.1, 1.0, 9.0):
        center = generator.uniform(-1.0, 1.0, size=2)
        selection = regions_in_disc(partition, center, radius)
        expected = np.pi * radius**2
        if radius == 9.0:
            expected = one_overlap(sg.Box(10.0), tuple(center), radius)
        assert selection.area == pytest.approx(expected, rel=1e-11)
        assert (selection.overlaps <= partition.areas[selection.regions]).all()
        assert partition.locate(center[None])[0] in selection.regions
    everything = regions_in_disc(partition, (0.0, 0.0), 15.0)
    np.testing.assert_array_equal(everything.regions, np.arange(partition.n_regions))
    np.testing.assert_array_equal(everything.overlaps, partition.areas)
    assert len(regions_in_disc(partition, (30.0, 0.0), 15.0)) == 0


def test_disc_about_the_origin_of_a_bias_free_network() -> None:
    """All zero lines pass through the center: each region takes the sector of its angle."""
    lines = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]]
    model = nn.Sequential(linear(lines), nn.ReLU(), linear([[1.0, 2.0, 3.0, 4.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    selection = regions_in_disc(partition, (0.0, 0.0), 0.25)
    np.testing.assert_array_equal(selection.regions, np.arange(8))
    np.testing.assert_allclose(selection.overlaps, np.full(8, np.pi * 0.25**2 / 8), rtol=1e-14)


def test_a_region_that_only_touches_does_not_meet() -> None:
    model = nn.Sequential(linear([[1.0, 0.0]]), nn.ReLU(), linear([[1.0]]))
    partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
    assert len(regions_in_disc(partition, (-0.5, 0.0), 0.5)) == 1
    assert len(regions_in_disc(partition, (-0.5, 0.0), np.nextafter(0.5, 1.0))) == 2
    assert len(regions_in_polygon(partition, [[-1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])) == 1
    assert len(regions_in_polygon(partition, [[-1.0, 0.0], [1e-15, 0.0], [0.0, 1.0]])) == 2


STAR = np.array([[2.0 if i % 2 else 0.5] for i in range(10)]) * [
    [np.cos(0.3 + i * np.pi / 5), np.sin(0.3 + i * np.pi / 5)] for i in range(10)
]


@pytest.mark.parametrize("name", ["S", "B", "leaky biased"])
@pytest.mark.parametrize(
    "polygon",
    [
        STAR,
        STAR[::-1],
        STAR + np.array([1.5, 0.5]),
        np.array([[0.1, 0.1], [0.100001, 0.1], [0.1, 0.4]]),
        np.array([[-50.0, -50.0], [50.0, -50.0], [0.0, 80.0]]),
        np.array([[50.0, 50.0], [60.0, 50.0], [50.0, 60.0]]),
    ],
)
def test_regions_in_a_polygon(name: str, polygon: np.ndarray) -> None:
    partition = workload(name).partition
    selection = regions_in_polygon(partition, polygon)
    window, shapes = shapely.Polygon(polygon), partition.to_shapely()
    overlaps = shapely.area(shapely.intersection(shapes, window))
    expected = np.nonzero(shapely.relate_pattern(shapes, window, "T********"))[0]
    np.testing.assert_array_equal(selection.regions, expected)
    np.testing.assert_allclose(selection.overlaps, overlaps[expected], rtol=1e-9, atol=1e-15)
    whole = shapely.Polygon(partition.domain).intersection(window).area
    assert selection.area == pytest.approx(whole, rel=1e-10, abs=1e-15)


def test_boxes_are_polygons() -> None:
    partition = workload("B").partition
    box = sg.Box(0.25, center=(0.5, 0.1))
    np.testing.assert_array_equal(
        regions_in_polygon(partition, box).regions, regions_in_polygon(partition, box.polygon()).regions
    )
    assert regions_in_polygon(partition, box).area == pytest.approx(0.25, rel=1e-12)
    assert len(regions_in_polygon(partition, sg.Box(1.0))) == partition.n_regions


def test_incomplete_partitions() -> None:
    case = workload("B")
    partition = sg.enumerate_regions(case.model, case.plane, case.domain, max_regions=50)
    np.testing.assert_array_equal(regions_in_disc(partition, (0.0, 0.0), 9.0).overlaps, partition.areas)
    np.testing.assert_array_equal(regions_in_polygon(partition, sg.Box(9.0)).overlaps, partition.areas)


@pytest.mark.parametrize("radius", [1, np.float32(1.0), np.int64(1)])
def test_radii_of_any_type(radius: float) -> None:
    partition = workload("B").partition
    expected, found = regions_in_disc(partition, (0.1, 0.2), 1.0), regions_in_disc(partition, (0.1, 0.2), radius)
    np.testing.assert_array_equal(found.regions, expected.regions)
    np.testing.assert_array_equal(found.overlaps, expected.overlaps)


@pytest.mark.parametrize("radius", [0.0, -1.0, np.inf, np.nan, "1", None])
def test_bad_radii(radius: float) -> None:
    with pytest.raises(sg.InvalidArgumentError, match="radius of a disc must be positive and finite"):
        regions_in_disc(workload("B").partition, (0.0, 0.0), radius)


@pytest.mark.parametrize(
    ("center", "message"),
    [
        (("a", "b"), "real numbers"),
        ((0.0,), "two slice coordinates"),
        ([[0.0, 0.0]], "two slice coordinates"),
        ((np.nan, 0.0), "finite"),
    ],
)
def test_bad_centers(center: object, message: str) -> None:
    with pytest.raises(sg.ShapeError, match=message):
        regions_in_disc(workload("B").partition, center, 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("polygon", "message"),
    [
        ("abc", "real numbers"),
        (np.zeros((2, 2)), r"shape \(k, 2\)"),
        (np.zeros((4, 3)), r"shape \(k, 2\)"),
        (np.array([[0.0, 0.0], [1.0, 0.0], [np.inf, 1.0]]), "finite"),
        (np.array([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]]), "simple"),
        (np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]), "simple"),
    ],
)
def test_bad_polygons(polygon: np.ndarray, message: str) -> None:
    with pytest.raises(sg.InvalidDomainError, match=message):
        regions_in_polygon(workload("B").partition, polygon)


def test_dead_layers_and_one_region() -> None:
    model = mlp((2, 4, 4, 1), bias=True)
    with np.errstate(all="raise"):
        model[2].bias.data -= 100.0  # type: ignore[operator]
        partition = sg.enumerate_regions(model, IDENTITY_PLANE, sg.Box(1.0))
        selection = regions_in_disc(partition, (0.0, 0.0), 0.5)
    assert selection.area == pytest.approx(np.pi / 4, rel=1e-13)


def test_a_side_as_short_as_rounding_hides_no_disc() -> None:
    """A corner of the square is two points, and the line from one to the other runs past the disc's center."""
    vertices = np.array([[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [-(2.0**-53), -(2.0**-52)]])
    distances, overlaps = np.empty(1), np.empty(1)
    faces, offsets, corners = np.zeros(1, dtype=np.int64), np.array([0, 5]), np.arange(5, dtype=np.int32)
    overlap_disc(vertices, offsets, corners, faces, np.array([1.0, 0.1]), 0.05, distances, overlaps)
    assert distances[0] == 0.0
    assert overlaps[0] == pytest.approx(np.pi * 0.05**2, rel=1e-13)


def test_a_region_that_rounding_has_crossed_is_not_the_whole_polygon() -> None:
    """It is 4e-7 wide at one end and comes to a point, where its sides cross."""
    partition = Recipe(
        seed=2750595472, sizes=(2, 5, 1), off_center=True, flaws=(("turned", 0, 0, 11, 1e-6), ("copy", 1, 12, 8, 1e-6))
    ).partition()
    window = np.array(
        [[-3.2375015451689494e-09, -1.5961533841958762e-09], [3.0010601516346053e-09, -2.0056818908097474e-09],
         [2.364413935343445e-10, 3.6018352750056217e-09]]
    )  # fmt: skip
    selection = regions_in_polygon(partition, window)
    assert selection.area == pytest.approx(shapely.Polygon(window).area, rel=1e-9)
    assert (selection.overlaps >= 0).all()
