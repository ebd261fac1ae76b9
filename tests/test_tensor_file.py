"""Tensor files against the library that defines their format."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from experiments.errors import CheckpointError
from experiments.tensor_file import write_tensor_file


def tensors_of_every_type() -> dict[str, torch.Tensor]:
    whole = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]
    broken = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
    found = {str(dtype): torch.arange(-3, 4).to(dtype) for dtype in whole}
    found |= {str(dtype): torch.linspace(-2, 2, 15).reshape(3, 5).to(dtype) for dtype in broken}
    return found | {
        "bool": torch.tensor([True, False, True]),
        "number": torch.tensor(2.5, dtype=torch.float64),
        "empty": torch.zeros(0, 4),
        "transposed": torch.randn(4, 3).T,
        "every second": torch.arange(10)[::2],
        "a ü name": torch.ones(1, requires_grad=True),
    }


def test_the_library_reads_what_was_written(tmp_path: Path):
    tensors = tensors_of_every_type()
    path = tmp_path / "a.safetensors"
    write_tensor_file(path, tensors, {"what": 'a "quoted" ü'})
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"what": 'a "quoted" ü'}
    found = load_file(path)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert found[name].shape == tensor.shape
        assert torch.equal(found[name], tensor.detach())
    assert list(tmp_path.iterdir()) == [path]


def test_as_long_as_the_librarys_file(tmp_path: Path):
    tensors = {name: tensor.detach().contiguous() for name, tensor in tensors_of_every_type().items()}
    path = tmp_path / "a.safetensors"
    write_tensor_file(path, tensors, {})
    assert abs(path.stat().st_size - len(save(tensors, {}))) < 64  # escapes in the header's text
    begins = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert begins % 8 == 0


def test_no_tensors_at_all(tmp_path: Path):
    write_tensor_file(tmp_path / "a", {}, {})
    assert load_file(tmp_path / "a") == {}


def test_numbers_without_a_name_in_the_format(tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"z holds torch\.complex64, which a file cannot hold"):
        write_tensor_file(tmp_path / "a", {"z": torch.zeros(2, dtype=torch.complex64)}, {})
    assert list(tmp_path.iterdir()) == []
