"""Tournaments: winners by brute force and by torch's indices, canonical bits, and the groups of stages of a network."""

import itertools

import numpy as np
import pytest
import torch
from piecewise_zoo import randomised
from torch import nn
from torch.nn import functional

from splinegeo.errors import InvalidNetworkError
from splinegeo.max_pooling import Tournament, adaptive_windows, dimension_windows, pooling_windows
from splinegeo.network import read_network


def bits_of(tournament: Tournament, values: np.ndarray) -> list[np.ndarray]:
    """The comparisons of each round on values (n, m), played with the values themselves."""
    candidates = values[:, tournament.candidates]
    rounds = []
    for matches in tournament.rounds:
        bits = candidates[:, matches.second] > candidates[:, matches.first[matches.paired]]
        following = candidates[:, matches.first]
        following[:, matches.paired] = np.where(bits, candidates[:, matches.second], following[:, matches.paired])
        rounds.append(bits)
        candidates = following
    return rounds


def brute_force_places(windows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """First place of the maximum in each window, -1 in windows being empty."""
    return np.where(windows >= 0, values[:, windows], -np.inf).argmax(axis=2)


def random_windows(generator: np.random.Generator, n_windows: int, size: int, n_values: int) -> np.ndarray:
    windows = generator.integers(0, n_values, (n_windows, size))
    empty = generator.random((n_windows, size)) < 0.3
    empty[np.arange(n_windows), generator.integers(0, size, n_windows)] = False
    return np.where(empty, -1, windows)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 13, 200])
@pytest.mark.parametrize("n_levels", [2, 4, 1000])
def test_winners_are_the_first_greatest_of_each_window(size: int, n_levels: int) -> None:
    """With few levels most windows have ties."""
    generator = np.random.default_rng(size)
    windows = random_windows(generator, 12, size, 40)
    values = generator.integers(0, n_levels, (60, 40)).astype(float)
    tournament = Tournament.of_windows(windows)
    if not tournament.rounds:
        assert size == 1
        np.testing.assert_array_equal(tournament.candidates, windows[:, 0])
        return
    winners = tournament.winners(bits_of(tournament, values))
    np.testing.assert_array_equal(winners, brute_force_places(windows, values))
    assert winners.dtype == (np.int8 if size <= 128 else np.int16)
    n_comparisons = sum(len(matches.second) for matches in tournament.rounds)
    assert n_comparisons == ((windows >= 0).sum(axis=1) - 1).sum()
    assert len(tournament.rounds) == int(np.ceil(np.log2((windows >= 0).sum(axis=1).max())))


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 9])
def test_canonical_bits_are_equal_exactly_where_the_winners_are(size: int) -> None:
    """Over all orders of up to six values, or many of nine."""
    generator = np.random.default_rng(0)
    if size <= 6:
        values = np.array(list(itertools.permutations(range(size))), dtype=float)
    else:
        values = generator.permuted(np.tile(np.arange(size, dtype=float), (3000, 1)), axis=1)
    tournament = Tournament.of_windows(np.arange(size)[None])
    bits = bits_of(tournament, values)
    canonical = tournament.canonical(bits)
    np.testing.assert_array_equal(tournament.winners(canonical), tournament.winners(bits))
    keys = np.concatenate(canonical, axis=1)
    assert len(np.unique(keys, axis=0)) == size
    both = np.column_stack([keys, tournament.winners(bits)])
    assert len(np.unique(both, axis=0)) == size
    for again, once in zip(tournament.canonical(canonical), canonical, strict=True):
        np.testing.assert_array_equal(again, once)
    if size > 2:
        assert any((one != other).any() for one, other in zip(bits, canonical, strict=True))


@pytest.mark.parametrize("size", [2, 3, 5, 9])
def test_comparisons_that_decide_are_those_of_the_winner(size: int) -> None:
    """They hold wherever it wins, however all other candidates are ordered among themselves."""
    values = np.random.default_rng(0).permuted(np.tile(np.arange(size, dtype=float), (2000, 1)), axis=1)
    tournament = Tournament.of_windows(np.arange(size)[None])
    bits = bits_of(tournament, values)
    deciding, winners = tournament.deciding(bits), tournament.winners(bits)[:, 0]
    n_deciding = sum(part.sum(axis=1) for part in deciding)
    assert (n_deciding >= 1).all()
    assert (n_deciding <= len(tournament.rounds)).all()
    for winner in range(size):
        rows = winners == winner
        for part, of_round in zip(deciding, bits, strict=True):
            assert (part[rows] == part[rows][0]).all()
            decided = of_round[rows][:, part[rows][0]]
            assert (decided == decided[0]).all()


def test_canonical_bits_of_many_windows() -> None:
    generator = np.random.default_rng(3)
    windows = random_windows(generator, 3, 5, 7)
    values = generator.standard_normal((4000, 7))
    tournament = Tournament.of_windows(windows)
    bits = bits_of(tournament, values)
    winners = tournament.winners(bits)
    keys = np.concatenate(tournament.canonical(bits), axis=1)
    pairs = np.unique(np.column_stack([keys, winners]), axis=0)
    assert len(pairs) == len(np.unique(keys, axis=0)) == len(np.unique(winners, axis=0)) > 10


GEOMETRIES = [
    *[(1, (9,), 2, 2, 0, 1, False), (1, (10,), 3, 2, 1, 1, True), (1, (11,), 3, 1, 1, 2, False)],
    *[(2, (6, 7), 2, 2, 0, 1, False), (2, (7, 8), 3, 2, 1, 1, False), (2, (7, 8), 3, 2, 1, 1, True)],
    *[(2, (9, 8), (2, 3), (1, 2), (1, 0), (3, 2), False), (2, (5, 5), 5, 1, 2, 1, False)],
    (2, (5, 6), 4, 3, 2, 1, True),
    *[(3, (4, 5, 6), 2, 2, 1, 1, True), (3, (5, 4, 5), (3, 2, 2), 1, (1, 0, 1), (1, 2, 1), False)],
]  # fmt: skip


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_windows_are_those_of_torch(geometry: tuple) -> None:
    dims, size, kernel, stride, padding, dilation, ceil_mode = geometry
    pool = getattr(functional, f"max_pool{dims}d")
    z = torch.randint(0, 4, (20, 2, *size), generator=torch.Generator().manual_seed(0)).double()
    options = {"dilation": dilation, "ceil_mode": ceil_mode, "return_indices": True}
    expected, indices = pool(z, kernel, stride, padding, **options)
    sizes = [(s,) * dims if isinstance(s, int) else s for s in (kernel, stride, padding, dilation)]
    windows = pooling_windows((2, *size), expected.shape[1:], *sizes)
    values = z.reshape(20, -1).numpy()
    tournament = Tournament.of_windows(windows)
    winners = tournament.winners(bits_of(tournament, values))
    at = windows[np.arange(len(windows)), winners]
    np.testing.assert_array_equal(np.take_along_axis(values, at, axis=1), expected.reshape(20, -1).numpy())
    per_channel = indices.reshape(20, 2, -1) + torch.tensor([0, int(np.prod(size))])[:, None]
    np.testing.assert_array_equal(at, per_channel.reshape(20, -1).numpy())


@pytest.mark.parametrize(("size", "out"), [((7,), (3,)), ((6, 5), (4, 2)), ((5, 7), (1, 7)), ((4, 5, 3), (2, 2, 2))])
def test_adaptive_windows_are_those_of_torch(size: tuple[int, ...], out: tuple[int, ...]) -> None:
    z = torch.randn((10, 3, *size), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = getattr(functional, f"adaptive_max_pool{len(size)}d")(z, out).reshape(10, -1).numpy()
    windows = adaptive_windows((3, *size), out)
    found = np.where(windows >= 0, z.reshape(10, -1).numpy()[:, windows], -np.inf).max(axis=2)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dims", [(0,), (1,), (-1,), (0, 2), (1, 0), (0, 1, 2)])
def test_windows_over_dimensions(dims: tuple[int, ...]) -> None:
    z = np.random.default_rng(0).standard_normal((3, 4, 5))
    windows = dimension_windows(z.shape, dims)
    np.testing.assert_array_equal(z.reshape(-1)[windows].max(axis=1), z.max(axis=dims).reshape(-1))


def test_a_window_of_padding_alone_has_no_maximum() -> None:
    with pytest.raises(InvalidNetworkError, match="padding"):
        Tournament.of_windows(np.array([[0, 1], [-1, -1]]))


def test_groups_of_a_network() -> None:
    """Canonical bits of a group, at points, are equal exactly where torch's indices are."""
    convolved = [nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
    dense = [nn.Linear(8, 6), nn.Unflatten(1, (1, 6)), nn.MaxPool1d(3), nn.Flatten(), nn.Linear(2, 2)]
    network = read_network(randomised(nn.Sequential(*convolved, *dense)), (1, 4, 4))
    assert [layer.kind for layer in network.layers] == ["MaxPool2d", "ReLU", "MaxPool1d"]
    assert network.groups == (range(0, 2), range(3, 5))
    x = np.random.default_rng(0).standard_normal((2000, 16))
    h, active = x, []
    for stage in network.stages:
        y = stage.affine(h)
        active.append(y > 0)
        h = stage.activate(y)
    pieces = network.pieces(active)
    for group, layer in zip(network.groups, (0, 2), strict=True):
        canonical = network.canonical(group, [active[i] for i in group])
        for i, part in zip(group, canonical, strict=True):
            assert not part[:, network.stages[i].carried].any()
            assert not (part & ~active[i]).any()
        replaced = list(active)
        replaced[group[0] : group[-1] + 1] = canonical
        np.testing.assert_array_equal(network.pieces(replaced)[layer], pieces[layer])
        keys = np.concatenate(canonical, axis=1)
        together = np.column_stack([keys, pieces[layer]])
        assert (
            len(np.unique(keys, axis=0))
            == len(np.unique(pieces[layer], axis=0))
            == len(np.unique(together, axis=0))
            > 2
        )
    with pytest.raises(ValueError, match="no group"):
        network.canonical(range(2, 3), [active[2]])
