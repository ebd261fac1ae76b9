"""GeoParquet files, as an independent reader (geopandas) finds them."""

import json
import os
import stat
import sys
from itertools import pairwise
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet
import pytest
import shapely
import torch
from networks import IDENTITY_PLANE, linear, region_patterns, torch_forward, workload
from pooled_network import pooled_case
from torch import nn

import splinegeo as sg
from splinegeo import geoparquet
from splinegeo.geoparquet import MissingExtraError, write_geoparquet
from splinegeo.statistics import region_statistics


@pytest.mark.parametrize("name", ["S", "B", "leaky biased", "scalar"])
def test_what_geopandas_reads(name: str, tmp_path: Path) -> None:
    case = workload(name)
    partition = case.partition
    write_geoparquet(partition, tmp_path / "regions.parquet")
    table = geopandas.read_parquet(tmp_path / "regions.parquet")
    assert table.crs is None
    np.testing.assert_array_equal(table["region"], np.arange(partition.n_regions))
    assert shapely.equals_exact(table.geometry.to_numpy(), partition.to_shapely()).all()
    assert table.geometry.is_valid.all()
    np.testing.assert_allclose(table.geometry.area, table["area"], rtol=1e-6)
    np.testing.assert_array_equal(table["area"], partition.areas)
    statistics = region_statistics(partition)
    np.testing.assert_array_equal(table["corners"], statistics.n_corners)
    np.testing.assert_array_equal(table["in_radius"], statistics.in_radii)
    units = np.cumsum([0, *(layer.n_units for layer in partition.network.layers)])
    patterns = region_patterns(partition)
    for layer, (begin, end) in enumerate(pairwise(units), start=1):
        np.testing.assert_array_equal(table[f"active_{layer}"], patterns[:, begin:end].sum(axis=1))
    outputs = torch_forward(case.model, case.plane, partition.interior_points)
    classes = outputs.argmax(axis=1) if outputs.shape[1] > 1 else outputs[:, 0] > 0
    np.testing.assert_array_equal(table["class"], classes)
    np.testing.assert_allclose(table["slice_norm"], np.linalg.norm(partition.slice_maps[:, :, :2], axis=(1, 2)))


def test_the_description_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "regions.parquet"
    partition = workload("B").partition
    write_geoparquet(partition, path)
    metadata = json.loads(pyarrow.parquet.read_schema(path).metadata[b"geo"])
    assert metadata["version"] == "1.0.0"
    column = metadata["columns"][metadata["primary_column"]]
    assert column["geometry_types"] == ["Polygon"]
    assert column["bbox"] == [-1.0, -1.0, 1.0, 1.0]
    rings = shapely.get_exterior_ring(geopandas.read_parquet(path).geometry.to_numpy())
    assert shapely.is_ccw(rings).all()
    assert column["orientation"] == "counterclockwise"


def test_columns_of_the_users_own(tmp_path: Path) -> None:
    partition = workload("B").partition
    norms = partition.operator_norms()
    inside = partition.slice_centroids[:, 0] > 0
    write_geoparquet(partition, str(tmp_path / "r.parquet"), {"norm": norms, "side": inside, "level": [1] * len(norms)})
    table = geopandas.read_parquet(tmp_path / "r.parquet")
    tensor = torch.tensor(norms, requires_grad=True)
    write_geoparquet(partition, tmp_path / "tensor.parquet", {"norm": tensor})
    np.testing.assert_array_equal(geopandas.read_parquet(tmp_path / "tensor.parquet")["norm"], norms)
    np.testing.assert_array_equal(table["norm"], norms)
    np.testing.assert_array_equal(table["side"], inside)
    assert table["level"].sum() == partition.n_regions


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"norm": np.zeros(3)}, r"'norm' must have one value for each of the 1180 regions, but has the shape \(3,\)"),
        ({"norm": np.zeros((1180, 2))}, "'norm' must have one value"),
        ({"area": np.zeros(1180)}, "'area' is there already"),
        ({"geometry": np.zeros(1180)}, "'geometry' is there already"),
        ({"norm": 1j * np.zeros(1180)}, "'norm' must have a name, a string, and real numbers"),
        ({"norm": np.zeros(1180, dtype=np.longdouble)}, "'norm' must have a name, a string, and real numbers"),
        ({"norm": np.zeros(1180, dtype=">f8")}, "'norm' must have a name, a string, and real numbers"),
        ({3: np.zeros(1180)}, "3 must have a name, a string"),
    ],
)
def test_columns_that_do_not_fit(columns: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(sg.ShapeError, match=message):
        write_geoparquet(workload("B").partition, tmp_path / "regions.parquet", columns)
    assert list(tmp_path.iterdir()) == []


def test_many_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    partition = workload("B").partition
    monkeypatch.setattr(geoparquet, "_REGIONS_PER_GROUP", 100)
    write_geoparquet(partition, tmp_path / "regions.parquet")
    assert pyarrow.parquet.ParquetFile(tmp_path / "regions.parquet").num_row_groups == 12
    table = geopandas.read_parquet(tmp_path / "regions.parquet")
    assert shapely.equals_exact(table.geometry.to_numpy(), partition.to_shapely()).all()


def test_layers_of_several_stages(tmp_path: Path) -> None:
    """Active units are counted where a unit is active or not: not for maxima and bounded units."""
    _, partition = pooled_case()
    write_geoparquet(partition, tmp_path / "regions.parquet")
    table = geopandas.read_parquet(tmp_path / "regions.parquet")
    assert [name for name in table.columns if name.startswith("active")] == ["active_1", "active_4"]
    for layer in (0, 3):
        expected = [partition.pattern(r)[layer].sum() for r in range(partition.n_regions)]
        np.testing.assert_array_equal(table[f"active_{layer + 1}"], expected)


def test_degenerate_partitions(tmp_path: Path) -> None:
    constant = nn.Sequential(linear([[0.0, 0.0]], [1.0]), nn.ReLU(), linear([[2.0], [1.0]]))
    write_geoparquet(sg.enumerate_regions(constant, IDENTITY_PLANE, sg.Box(1.0)), tmp_path / "constant.parquet")
    table = geopandas.read_parquet(tmp_path / "constant.parquet")
    assert table.drop(columns="geometry").to_dict("list") == {
        "region": [0], "area": [4.0], "corners": [4], "in_radius": [1.0],
        "active_1": [1], "class": [0], "slice_norm": [0.0],
    }  # fmt: skip
    write_geoparquet(sg.enumerate_regions(nn.Linear(2, 1), IDENTITY_PLANE, sg.Box(1.0)), tmp_path / "linear.parquet")
    assert len(geopandas.read_parquet(tmp_path / "linear.parquet")) == 1


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"GeoParquet needs pyarrow: pip install 'splinegeo\[geo\]'") as caught:
        write_geoparquet(workload("B").partition, tmp_path / "regions.parquet")
    assert isinstance(caught.value, sg.SplineGeoError)
    assert isinstance(caught.value, ImportError)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "regions.parquet"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(geoparquet.shapely, "to_wkb", fail)
    with pytest.raises(OSError, match="no space left"):
        write_geoparquet(workload("B").partition, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        workload("B").partition.to_geoparquet(tmp_path / "regions.parquet")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "regions.parquet").stat().st_mode) == 0o644
