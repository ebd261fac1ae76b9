"""The engine on convolutional networks of real size and real images: regions, seconds, memory, and checks of every
region against torch.

The networks are those of convolutional_networks.py, at their initialisation. The slice goes through the first three
training images, the domain is a square about the first one.

    python benchmarks/convolutional.py --data cifar10.npz    # x_train (n, 32, 32, 3) uint8
    python benchmarks/convolutional.py --data cifar10.npz --networks cnn --largest 0.1
    python benchmarks/convolutional.py --data cifar10.npz --write    # also to benchmarks/CONVOLUTIONAL.md
"""

import argparse
import copy
import json
import os
import resource
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from machine import header
from tables import MB, seconds, table

_RESULTS = Path(__file__).parent / "CONVOLUTIONAL.md"
_NETWORKS = ("cnn", "resnet18", "densenet", "every_layer")
_CALIBRATION_IMAGES = 128
_JACOBIANS = 8
_SAMPLES = 500
_TITLES = ["network", "half-width", "regions", "kinks", "regions s", "maps s", "centroids s", "norms s", "prefixes s",
           "peak MB", "certificate", "outputs", "Jacobians", "checks s"]  # fmt: skip
_LEGEND = (
    "Seconds of processor time, of one process for each row. Prefixes: the power diagrams of all layers. Peak memory "
    "before the checks. Outputs: the largest difference of a region's map from torch's forward pass at an interior "
    "point, over all regions; Jacobians: that of map, offset, centroid and norm from torch's Jacobian, over "
    f"{_JACOBIANS} regions; both relative to the largest entry."
)


@dataclass(frozen=True)
class Case:
    """A network and the half-width of the domain about a training image."""

    network: str
    half_width: float

    def __str__(self) -> str:
        return f"{self.network}, half-width {self.half_width:g}"


CASES = (
    *(Case("cnn", half_width) for half_width in (0.02, 0.05, 0.1, 0.2, 0.5)),
    *(Case("resnet18", half_width) for half_width in (0.001, 0.0025)),
    *(Case("densenet", half_width) for half_width in (0.005, 0.01)),
    *(Case("every_layer", half_width) for half_width in (0.005, 0.01)),
)


def main() -> int:
    """Measure each case in a process of its own, or the one that the arguments name; 1 if a check fails."""
    arguments = _arguments()
    if arguments.case:
        print(json.dumps(measure(Case(**arguments.case), arguments.data, arguments.threads)))
        return 0
    load_images(arguments.data)  # a wrong file is refused before the first case
    command = ["python", "benchmarks/convolutional.py", *sys.argv[1:]]
    if "--data" in command:  # where it lies on this machine tells nobody anything
        command[command.index("--data") + 1] = arguments.data.name
    title = ["# Benchmarks: convolutional networks on CIFAR-10 images", "", *header(shlex.join(command)), ""]
    print("\n".join(title), flush=True)
    rows, certificates, passed = [], [], True
    for case in CASES:
        if case.network not in arguments.networks or case.half_width > arguments.largest:
            continue
        result, failure = _in_a_process(case, arguments)
        if failure:
            rows.append([case.network, f"{case.half_width:g}", failure, *[""] * (len(_TITLES) - 3)])
            print(f"{case}: {failure}", file=sys.stderr, flush=True)
            passed = False
        else:
            rows.append(_row(case, result))
            certificates += [f"{case}", "", "```", *result["certificate"].splitlines(), "```", ""]
            print(f"{case}\n{result['certificate']}\n", flush=True)
            passed &= result["passed"]
        if arguments.write:
            lines = [*title, *table(_TITLES, rows), "", _LEGEND, "", "## Certificates", "", *certificates]
            _write(lines)
    print("\n".join([*table(_TITLES, rows), "", _LEGEND]))
    return 0 if passed else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="an .npz file with x_train (n, 32, 32, 3) uint8")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--networks", nargs="+", choices=_NETWORKS, default=_NETWORKS)
    parser.add_argument("--largest", type=float, default=np.inf, help="leave out the larger domains")
    parser.add_argument("--time-limit", type=float, default=1800.0, help="seconds for one case (default 1800)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/CONVOLUTIONAL.md too")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args()


def _in_a_process(case: Case, arguments: argparse.Namespace) -> tuple[dict, str]:
    """What `measure` gives in a fresh process; or why there is nothing."""
    try:
        child = subprocess.run(
            [sys.executable, __file__, "--data", str(arguments.data), "--threads", str(arguments.threads),
             "--case", json.dumps(vars(case))],
            capture_output=True, text=True, check=False, timeout=arguments.time_limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {}, f"stopped after {arguments.time_limit:.0f} s"
    if child.returncode:
        return {}, (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
    return json.loads(child.stdout.splitlines()[-1]), ""


def _write(lines: list[str]) -> None:
    partial = _RESULTS.with_suffix(".partial")
    partial.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    os.replace(partial, _RESULTS)


def measure(case: Case, data: Path, threads: int) -> dict:
    """Enumerate a case and compute what is asked of the regions; then check everything."""
    import torch
    from convolutional_networks import NETWORKS

    import splinegeo as sg
    from splinegeo.layer_diagram import layer_diagrams

    torch.set_num_threads(threads)
    images = load_images(data)
    model = NETWORKS[case.network](images)
    basis = sg.Slice.through_points(images[:3]).basis
    # The image is the origin: coordinates far larger than the domain would round its vertices.
    plane = sg.Slice(images[0].reshape(-1), basis, input_shape=images.shape[1:])
    sg.enumerate_regions(model, plane, sg.Box(1e-6), threads=threads)  # compiled kernels and libraries are loaded
    domain = sg.Box(case.half_width)
    partition, of_regions = _timed(lambda: sg.enumerate_regions(model, plane, domain, threads=threads))
    _, of_maps = _timed(lambda: partition.slice_maps)
    _, of_centroids = _timed(partition.centroids)
    _, of_norms = _timed(partition.operator_norms)
    _, of_prefixes = _timed(lambda: layer_diagrams(partition))
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (certificate, outputs, jacobians), of_checks = _timed(lambda: check(partition, model))
    return {
        "regions": partition.n_regions, "kinks": partition.restriction.n_kinks, "peak": peak,
        "seconds": [of_regions, of_maps, of_centroids, of_norms, of_prefixes, of_checks],
        "certificate": str(certificate), "ok": certificate.ok, "outputs": outputs, "jacobians": jacobians,
        "passed": certificate.ok and outputs < 1e-11 and jacobians < 1e-10,
    }  # fmt: skip


def load_images(path: Path) -> np.ndarray:
    """The first training images, (n, 3, 32, 32), pixels from -2 to 2. Exits with one line where there are none."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels = arrays["x_train"][:_CALIBRATION_IMAGES]
    except (OSError, ValueError, KeyError, BadZipFile):
        sys.exit(f"{path} is no .npz file with an array x_train: give one with --data")
    if pixels.dtype != np.uint8 or pixels.shape[1:] != (32, 32, 3) or len(pixels) < 3:
        sys.exit(f"x_train in {path} is {pixels.dtype} of shape {pixels.shape}: expected uint8 (n, 32, 32, 3)")
    return (pixels.astype(np.float64) / 255 - 0.5).transpose(0, 3, 1, 2) / 0.25


def check(partition, model) -> tuple:  # type: ignore[no-untyped-def]
    """The certificate, and the largest relative differences from torch's outputs and Jacobians in float64."""
    import torch

    exact = copy.deepcopy(model).double().eval()
    shape = partition.network.input_shape

    def forward(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return exact(torch.from_numpy(x).reshape(-1, *shape)).numpy()

    points = partition.interior_points
    inputs = partition.plane.origin + points @ partition.plane.basis
    of_torch = np.concatenate([forward(inputs[a : a + 64]) for a in range(0, len(inputs), 64)])
    maps = partition.slice_maps
    found = np.einsum("rci,ri->rc", maps[..., :2], points) + maps[..., 2]
    outputs = float(np.abs(found - of_torch).max() / np.abs(of_torch).max())
    jacobians = 0.0
    by_area = np.argsort(partition.areas)[::-1]  # spread over all sizes that autograd's own rounding can tell apart
    for region in by_area[np.linspace(0, len(by_area) // 2, _JACOBIANS).astype(int)]:
        x = torch.from_numpy(inputs[region]).reshape(1, *shape)
        jacobian = torch.autograd.functional.jacobian(exact, x).reshape(partition.network.n_outputs, -1).numpy()
        matrix, offset = partition.affine_map(int(region))
        pairs = (
            (matrix, jacobian),
            (offset, of_torch[region] - jacobian @ inputs[region]),
            (partition.centroids([int(region)])[0], jacobian.sum(axis=0)),
            (partition.operator_norms()[region], np.linalg.norm(jacobian)),
        )
        scales = (np.abs(jacobian).max(), np.abs(of_torch).max(), np.abs(jacobian.sum(axis=0)).max(), 1.0)
        for (ours, theirs), scale in zip(pairs, scales, strict=True):
            jacobians = max(jacobians, float(np.abs(ours - theirs).max() / max(scale, np.abs(theirs).max())))
    return partition.certify(_SAMPLES), outputs, jacobians


def _timed(function: Callable):  # type: ignore[no-untyped-def]
    begin = time.process_time()
    result = function()
    return result, time.process_time() - begin


def _row(case: Case, result: dict) -> list[str]:
    times = [seconds(value) for value in result["seconds"]]
    return [
        case.network, f"{case.half_width:g}", f"{result['regions']:,}".replace(",", " "), str(result["kinks"]),
        *times[:-1], f"{result['peak'] / MB:.0f}", "ok" if result["ok"] else "NOT OK", f"{result['outputs']:.0e}",
        f"{result['jacobians']:.0e}", times[-1],
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
