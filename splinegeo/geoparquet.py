"""Regions as a GeoParquet file (version 1.0), which QGIS, DuckDB and geopandas read; needs the extra `geo`."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely
import torch
from numpy.typing import ArrayLike

from splinegeo._bits import unpack
from splinegeo.atomic import replacing_file
from splinegeo.errors import MissingExtraError, ShapeError
from splinegeo.selection import region_polygons
from splinegeo.slice import as_numbers
from splinegeo.statistics import region_statistics

if TYPE_CHECKING:
    from splinegeo.partition import Partition

_REGIONS_PER_GROUP = 1 << 16


def write_geoparquet(
    partition: "Partition", path: str | os.PathLike, columns: Mapping[str, ArrayLike] | None = None
) -> None:
    """Write the regions to a GeoParquet file, atomically: one row a region, in slice coordinates.

    Columns: `geometry` (polygon), `region` (id), `area`, `corners`, `in_radius`, `active_i` (number of active units of
    layer i, counted from 1, where a unit is active or not), `class` (largest output at the region's centre of area; for
    one output its sign), `slice_norm` (Frobenius norm of the region's operator on the slice, A Uᵀ), and those given:
    names and one number a region, for instance `{"norm": partition.operator_norms()}`.

    Raises `MissingExtraError` without pyarrow, `ShapeError` for a column that does not have one value a region, whose
    type cannot be written or whose name is taken.
    """
    parquet, arrow = _pyarrow()
    table = _own_columns(partition)
    for name, values in (columns or {}).items():
        array = as_numbers(values, f"column {name!r}") if isinstance(values, torch.Tensor) else np.asarray(values)
        written = array.dtype.kind in "biufUM" and array.dtype.isnative and array.dtype != np.longdouble
        if not (isinstance(name, str) and written):
            raise ShapeError(f"column {name!r} must have a name, a string, and real numbers, texts or dates")
        if array.shape != (partition.n_regions,):
            raise ShapeError(
                f"column {name!r} must have one value for each of the {partition.n_regions} regions, "
                f"but has the shape {array.shape}"
            )
        if name in table or name == "geometry":
            raise ShapeError(f"column {name!r} is there already: choose another name")
        table[name] = array
    schema = arrow.schema(
        [("geometry", arrow.binary()), *((name, arrow.from_numpy_dtype(v.dtype)) for name, v in table.items())],
        metadata={"geo": json.dumps(_metadata(partition))},
    )
    with replacing_file(Path(path)) as file, parquet.ParquetWriter(file, schema) as writer:
        for begin in range(0, partition.n_regions, _REGIONS_PER_GROUP):
            group = np.arange(begin, min(begin + _REGIONS_PER_GROUP, partition.n_regions))
            geometry = shapely.to_wkb(region_polygons(partition, group))
            arrays = [arrow.array(geometry, arrow.binary()), *(arrow.array(v[group]) for v in table.values())]
            writer.write_table(arrow.table(arrays, schema=schema))


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("GeoParquet needs pyarrow: pip install 'splinegeo[geo]'") from error
    return pyarrow.parquet, pyarrow


def _own_columns(partition: "Partition") -> dict[str, np.ndarray]:
    statistics = region_statistics(partition)
    table = {
        "region": np.arange(partition.n_regions),
        "area": statistics.areas,
        "corners": statistics.n_corners,
        "in_radius": statistics.in_radii,
    }
    network = partition.network
    for stage, words, faces in zip(network.stages, partition.bits, partition.ancestors, strict=True):
        layer = network.layers[stage.layer]
        one_bit_a_unit = np.array_equal(stage.layer_unit[~stage.carried], np.arange(layer.n_units))
        if layer.tournament is None and one_bit_a_unit:
            counts = unpack(words, stage.n_units)[:, ~stage.carried].sum(axis=1)
            table[f"active_{stage.layer + 1}"] = counts[faces]
    maps = partition.slice_maps
    outputs = np.einsum("rcj,rj->rc", maps[:, :, :2], partition.interior_points) + maps[:, :, 2]
    table["class"] = outputs.argmax(axis=1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(np.int64)
    table["slice_norm"] = partition.operator_norms(space="slice")
    return table


def _metadata(partition: "Partition") -> dict[str, Any]:
    """The file's own description, by the GeoParquet specification 1.0.0."""
    low, high = partition.vertices.min(axis=0), partition.vertices.max(axis=0)
    geometry = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"],
        "crs": None,
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": [*low.tolist(), *high.tolist()],
    }
    return {"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": geometry}}
