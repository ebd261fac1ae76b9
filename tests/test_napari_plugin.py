"""The npe2 plugin: its manifest, its reader, its sample and its widget, as napari finds them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from display_marks import needs_display
from explorer_cases import partition
from small_runs import small_run
from test_napari_explorer import settle

import splinegeo as sg
from experiments.data import LabelledImages
from experiments.models import mlp

pytest.importorskip("napari", reason="napari is not installed: pip install 'splinegeo[napari]'")
pytestmark = needs_display

MANIFEST = Path(__file__).parent.parent / "experiments" / "napari.yaml"


@pytest.fixture(scope="module")
def manager() -> Any:
    """npe2's own registry with our manifest in it, as an installed package has."""
    from npe2 import PluginManager, PluginManifest

    manager = PluginManager.instance()
    if "splinegeo" not in manager:
        manager.register(PluginManifest.from_file(MANIFEST))
    return manager


@pytest.fixture
def viewer(manager: Any) -> Any:
    import napari

    viewer = napari.Viewer(show=False)
    yield viewer
    viewer.close()


def test_all_that_the_manifest_names_exists(manager: Any):
    manifest = manager.get_manifest("splinegeo")
    manifest.validate_imports()
    contributions = manifest.contributions
    assert [reader.accepts_directories for reader in contributions.readers] == [True]
    assert len(contributions.widgets) == len(contributions.sample_data) == 1


def test_napari_opens_a_partition_file_by_the_reader(viewer: Any, tmp_path: Path):
    part = partition()
    part.save(tmp_path / "p.npz")
    (layer,) = viewer.open(tmp_path / "p.npz", plugin="splinegeo")
    vertices, _, values = layer.data
    assert type(layer).__name__ == "Surface"
    assert len(vertices) == len(part.corners)
    first = np.searchsorted(part.mesh.face_of_corner, np.arange(part.n_regions))
    np.testing.assert_allclose(values[first], part.operator_norms(), rtol=1e-6)


def test_napari_opens_a_run_folder_and_the_widget_takes_it_over(
    viewer: Any, manager: Any, tmp_path: Path, mnist: LabelledImages
):
    from experiments.napari_plugin import ExplorerStarter

    run = small_run(tmp_path / "run", mnist, epochs=3)
    (layer,) = viewer.open(run, plugin="splinegeo")
    assert layer.name.startswith("run epoch 3")
    _, starter = viewer.window.add_plugin_dock_widget("splinegeo", "Explorer of linear regions")
    assert isinstance(starter, ExplorerStarter)
    settle(lambda: starter.explorer is not None and starter.explorer.is_complete)
    assert not layer.visible
    assert "Decision boundary" in viewer.layers
    starter.open(tmp_path / "nothing")
    assert "No such file" in starter.problem.text()
    partition().save(tmp_path / "p.npz")
    starter.open(tmp_path / "p.npz")
    settle(lambda: starter.explorer.is_complete and starter.explorer.shown.partition.n_regions == partition().n_regions)
    assert [layer.name for layer in viewer.layers].count("Regions") == 1
    starter.explorer.close()


def test_the_sample_is_a_network_on_mnist(viewer: Any, mnist: LabelledImages):
    (layer,) = viewer.open_sample("splinegeo", "mnist-regions")
    part = sg.enumerate_regions(
        mlp((1, 28, 28), 10, hidden_widths=(64, 64)).double(), sg.Slice.through_points(mnist.x_train[:3])
    )
    assert len(layer.data[0]) == len(part.corners)


def test_the_reader_leaves_foreign_files_to_others(tmp_path: Path):
    from experiments.napari_plugin import get_reader

    np.savez(tmp_path / "foreign.npz", a=np.ones(3))
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "folder").mkdir()
    for name in ("foreign.npz", "text.npz", "folder", "missing.npz", "picture.png"):
        assert get_reader(str(tmp_path / name)) is None, name
    partition().save(tmp_path / "p.npz")
    assert get_reader(str(tmp_path / "p.npz")) is not None
    assert get_reader([str(tmp_path / "p.npz")]) is not None
    assert get_reader([str(tmp_path / "p.npz")] * 2) is None
