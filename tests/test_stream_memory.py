"""What a stream of a convolutional network takes: the largest resident memory of a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, gc, hashlib, sys
import numpy as np
import torch
from torch import nn
import splinegeo as sg

def resident(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(key))

torch.manual_seed(0)
torch.set_num_threads(1)
model = nn.Sequential(
    nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, padding=1), nn.ReLU(),
    nn.Conv2d(16, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 15 * 15, 4),
)
plane = sg.Slice.through_points(np.random.default_rng(0).standard_normal((3, 3, 32, 32)))
memory, half_width = int(sys.argv[1]), 0.08
for block in sg.iterate_regions(model, plane, sg.Box(half_width / 1000), threads=1):
    pass  # libraries and kernels are loaded
gc.collect()
ctypes.CDLL(None).malloc_trim(0)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = resident("VmRSS")
found, n_blocks, area = [], 0, 0.0

def digests(partition):
    for r in range(partition.n_regions):
        rows = (words[faces[r]].tobytes() for words, faces in zip(partition.bits, partition.ancestors))
        yield hashlib.sha256(b"".join(rows)).digest()

for block in sg.iterate_regions(model, plane, sg.Box(half_width), memory=memory, threads=1):
    found += digests(block)
    n_blocks += 1
    area += block.areas.sum()
peak = resident("VmHWM") - before
whole = list(digests(sg.enumerate_regions(model, plane, sg.Box(half_width), threads=1)))
print(peak, n_blocks, len(found), sorted(found) == sorted(whole), area / (4 * half_width**2))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the largest resident memory")
def test_a_stream_of_convolutions_keeps_to_its_memory() -> None:
    memory = 48 << 20
    ended = subprocess.run([sys.executable, "-c", PROGRAM, str(memory)], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    peak, n_blocks, n_regions, same, share = ended.stdout.split()
    assert int(n_blocks) > 3
    assert int(n_regions) > 300
    assert same == "True"
    assert float(share) == pytest.approx(1.0, rel=1e-12)
    assert int(peak) <= 1.1 * memory, f"{int(peak) / memory:.2f} of the memory"
