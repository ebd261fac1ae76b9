"""Damaged partition files: impossible arrays, headers that cannot be read, and damage at random."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from partition_files import (
    Arrays,
    assert_same_file_content,
    image_partition,
    pooled_partition,
    read_arrays,
    refusal,
    results,
    save,
    small_partition,
    write_arrays,
)

import splinegeo as sg


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(small_partition(), tmp_path_factory.mktemp("saved") / "small.npz")


@pytest.fixture(scope="module")
def saved_with_pooling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(pooled_partition(), tmp_path_factory.mktemp("saved") / "pooled.npz")


of_two_networks = pytest.mark.parametrize("fixture", ["saved", "saved_with_pooling"])


def replaced(array: np.ndarray, place: object, value: float) -> np.ndarray:
    changed = array.copy()
    changed[place] = value
    return changed


# Each leaves the file readable and the archive whole, and the mesh or what goes with it impossible.
TAMPERED: dict[str, Callable[[Arrays], Arrays]] = {
    "offset beyond the corners": lambda a: {"offsets": replaced(a["offsets"], -1, a["offsets"][-1] + 5)},
    "offset beyond the corners, inside": lambda a: {"offsets": replaced(a["offsets"], 3, 10**9)},
    "negative offset": lambda a: {"offsets": replaced(a["offsets"], 1, -4)},
    "first offset not zero": lambda a: {"offsets": replaced(a["offsets"], 0, 1)},
    "offsets that run back": lambda a: {"offsets": a["offsets"][::-1].copy()},
    "offsets that overflow": lambda a: {"offsets": np.array([0, 2**63 - 1, -(2**63), len(a["corners"])])},
    "no offsets": lambda a: {"offsets": a["offsets"][:0]},
    "one offset": lambda a: {"offsets": a["offsets"][:1]},
    "corner beyond the vertices": lambda a: {"corners": replaced(a["corners"], 5, len(a["vertices"]))},
    "negative corner": lambda a: {"corners": replaced(a["corners"], 5, -1)},
    "corners in another order": lambda a: {"corners": a["corners"][::-1].copy()},
    "corners of another length": lambda a: {"corners": a["corners"][:-1]},
    "side beyond the edges": lambda a: {"sides": replaced(a["sides"], 5, 2 * len(a["edges"]))},
    "negative side": lambda a: {"sides": replaced(a["sides"], 5, -2)},
    "sides in another order": lambda a: {"sides": np.roll(a["sides"], 1)},
    "edge end beyond the vertices": lambda a: {"edges": replaced(a["edges"], (2, 1), len(a["vertices"]))},
    "negative edge end": lambda a: {"edges": replaced(a["edges"], (2, 1), -1)},
    "fewer edges": lambda a: {"edges": a["edges"][:-1]},
    "face beyond the regions": lambda a: {"edge_faces": replaced(a["edge_faces"], (2, 0), len(a["offsets"]) - 1)},
    "face below -1": lambda a: {"edge_faces": replaced(a["edge_faces"], (2, 0), -2)},
    "faces exchanged": lambda a: {"edge_faces": a["edge_faces"][:, ::-1].copy()},
    "a face beyond the border": lambda a: {
        "edge_faces": np.where(a["edge_faces"] < 0, 0, a["edge_faces"]).astype(np.int32)
    },
    "label of no stage": lambda a: {"edge_labels": np.full_like(a["edge_labels"], 10**9)},
    "label below -1": lambda a: {"edge_labels": np.full_like(a["edge_labels"], -(10**9))},
    "fewer labels": lambda a: {"edge_labels": a["edge_labels"][:-1]},
    "NaN vertex": lambda a: {"vertices": replaced(a["vertices"], (3, 1), np.nan)},
    "infinite vertex": lambda a: {"vertices": replaced(a["vertices"], (3, 1), np.inf)},
    "huge vertices": lambda a: {"vertices": a["vertices"] * 1e308},
    "vertices all in one place": lambda a: {"vertices": np.zeros_like(a["vertices"])},
    "vertices in another order": lambda a: {"vertices": a["vertices"][::-1].copy()},
    "vertices in space": lambda a: {"vertices": np.zeros((len(a["vertices"]), 3))},
    "vertices in single precision": lambda a: {"vertices": a["vertices"].astype(np.float32)},
    "vertices as words": lambda a: {"vertices": a["vertices"].astype(str)},
    "vertices as complex numbers": lambda a: {"vertices": a["vertices"].astype(complex)},
    "vertices in a record": lambda a: {"vertices": np.zeros(len(a["vertices"]), dtype=[("x", "f8"), ("y", "f8")])},
    "corners as fractions": lambda a: {"corners": a["corners"] + 0.5},
    "corners as unsigned": lambda a: {"corners": a["corners"].astype(np.uint32)},
    "no domain": lambda a: {"domain": a["domain"][:0]},
    "domain in space": lambda a: {"domain": np.zeros((4, 3))},
    "domain of NaN": lambda a: {"domain": a["domain"] * np.nan},
    "domain turned over": lambda a: {"domain": a["domain"][::-1].copy()},
    "origin of another length": lambda a: {"origin": np.zeros(3)},
    "origin of NaN": lambda a: {"origin": a["origin"] * np.nan},
    "origin as words": lambda a: {"origin": np.array("abc")},
    "origin as complex numbers": lambda a: {"origin": a["origin"] + 1j},
    "oblique basis": lambda a: {"basis": np.ones_like(a["basis"])},
    "basis of three": lambda a: {"basis": np.eye(3)},
    "input shape of another size": lambda a: {"input_shape": np.array([3, 5])},
    "negative input shape": lambda a: {"input_shape": np.array([-1, -2])},
    "input shape as a number": lambda a: {"input_shape": np.array(2)},
    "another format": lambda a: {"format": np.array("splinegeo checkpoint")},
    "two formats": lambda a: {"format": np.array(["splinegeo partition"] * 2)},
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_file_whose_arrays_do_not_fit(name: str, saved: Path, tmp_path: Path) -> None:
    arrays = read_arrays(saved)
    changes = TAMPERED[name](arrays)
    assert set(changes) <= set(arrays), "the file no longer holds an array of this name"
    refusal(write_arrays(arrays | changes, tmp_path / "tampered.npz"))


def test_points_of_the_slice_must_be_points(tmp_path: Path) -> None:
    arrays = read_arrays(save(image_partition(), tmp_path / "images.npz"))
    assert arrays["points"].shape == (3, 2)
    for points in (np.zeros(3), np.zeros((3, 4)), arrays["points"] * np.nan, np.array("abc")):
        refusal(write_arrays(arrays | {"points": points}, tmp_path / "tampered.npz"))


def raw_npy(header: str, data: bytes) -> bytes:
    encoded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x02\x00" + len(encoded).to_bytes(4, "little") + encoded + data


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 2), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (9, 9, 9, 9), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (3, 2), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }" + 20_000 * " ",
        "{'descr': '<f8', 'fortran_order': False}",
        "{'descr': '<f99', 'fortran_order': False, 'shape': (3, 2), }",
        "{'descr': 'no type', 'fortran_order': False, 'shape': (3, 2), }",
        "__import__('os').system('true')",
        "{" * 300,
        "\\N{bad escape",
    ],
    ids=lambda header: header[:60],
)
def test_a_header_that_numpy_cannot_read(header: str, saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "header.npz"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        for member in source.namelist():
            content = raw_npy(header, bytes(48)) if member == "vertices.npy" else source.read(member)
            target.writestr(member, content)
    refusal(path)


# --- damage at random ---


def loads_identical_or_is_refused(path: Path, original: sg.Partition) -> bool:
    """Whether the file was refused; a file that is not refused must hold the very same partition."""
    try:
        loaded = sg.load_partition(path)
    except sg.PartitionFileError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return True
    assert_same_file_content(original, loaded)
    return False


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """One to three times: a bit flipped, a run overwritten, cut out, doubled or zeroed; often near the end."""
    data = bytearray(content)
    for _ in range(generator.integers(1, 4)):
        size = len(data)
        place = int(generator.choice([generator.integers(size), size - 1 - generator.integers(min(size, 1500))]))
        run = int(generator.choice([1, 2, 4, 16, 300]))
        match generator.integers(5):
            case 0:
                data[place] ^= 1 << int(generator.integers(8))
            case 1:
                data[place : place + run] = generator.bytes(len(data[place : place + run]))
            case 2:
                del data[place : place + run]
            case 3:
                data[place:place] = data[place : place + run]
            case 4:
                data[place : place + run] = bytes(len(data[place : place + run]))
    return bytes(data)


def test_random_damage_is_refused_or_harmless(saved: Path, tmp_path: Path) -> None:
    """The archive's checksums cover the arrays; what they leave, such as dates of members, changes nothing."""
    generator, content, original = np.random.default_rng(2), saved.read_bytes(), small_partition()
    path = tmp_path / "damaged.npz"
    refused = 0
    for _ in range(500):
        path.write_bytes(mutated(content, generator))
        refused += loads_identical_or_is_refused(path, original)
    assert 400 < refused <= 500


def with_damaged_member(content: bytes, generator: np.random.Generator) -> bytes:
    """One array damaged before it is archived: all checksums are right."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(result, "w") as target:
        members = source.namelist()
        chosen = members[generator.integers(len(members))]
        for member in members:
            data = bytearray(source.read(member))
            if member == chosen:
                header = 128 if generator.random() < 0.8 else 0
                for _ in range(generator.integers(1, 6)):
                    data[min(header, len(data) - 1) + generator.integers(max(1, len(data) - header))] = (
                        generator.integers(256)
                    )
            target.writestr(member, bytes(data))
    return result.getvalue()


@of_two_networks
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_damage_behind_the_checksums_is_refused_or_can_be_lived_with(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A weight or a coordinate may be another one; every question then still has an answer."""
    generator, content = np.random.default_rng(3), request.getfixturevalue(fixture).read_bytes()
    path = tmp_path / "damaged.npz"
    refused = 0
    for _ in range(200):
        path.write_bytes(with_damaged_member(content, generator))
        try:
            loaded = sg.load_partition(path)
        except sg.PartitionFileError as error:
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
            continue
        assert sum(1 for _ in results(loaded)) > 10
    assert 50 < refused < 200


@of_two_networks
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_array_missing_or_of_another_kind_is_refused_or_can_be_lived_with(
    fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    arrays = read_arrays(request.getfixturevalue(fixture))
    changes: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "empty": lambda a: a.ravel()[:0],
        "shorter": lambda a: a[:-1] if a.ndim and len(a) else np.zeros((0,), dtype=a.dtype),
        "longer": lambda a: np.concatenate([np.atleast_1d(a)] * 2),
        "another rank": lambda a: a[None],
        "another type": lambda a: a.astype(np.int16) if a.dtype.kind == "f" else a.astype(str),
        "words": lambda a: np.full(a.shape, "abc"),
        "zeros": np.zeros_like,
        "complex": lambda a: np.ones(a.shape, dtype=complex),
        "largest": lambda a: np.full_like(a, np.iinfo(a.dtype).max if a.dtype.kind in "iu" else a.dtype.type(1)),
    }
    path = tmp_path / "changed.npz"
    for name in arrays:
        write_arrays({key: array for key, array in arrays.items() if key != name}, path)
        if name != "points":  # a slice need not have any
            refusal(path)
        for change in changes.values():
            write_arrays(arrays | {name: change(arrays[name])}, path)
            try:
                loaded = sg.load_partition(path)
            except sg.PartitionFileError as error:
                assert "\n" not in str(error)  # noqa: PT017
            else:
                assert sum(1 for _ in results(loaded)) > 10
