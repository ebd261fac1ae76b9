"""Named tensors in a safetensors file, written straight from memory: `safetensors.torch.save` would copy them twice."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from experiments.errors import CheckpointError
from splinegeo.atomic import replacing_file

_TYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_ALIGNMENT = 8


def write_tensor_file(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors and text beside them, atomically: the layout of https://github.com/huggingface/safetensors#format.

    Raises CheckpointError for numbers of a type that has no name there, OSError from the disk.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    # The widest first: each tensor then begins at a multiple of its numbers' size.
    ordered = sorted(tensors.items(), key=lambda entry: (-entry[1].element_size(), entry[0]))
    for name, tensor in ordered:
        if tensor.dtype not in _TYPES:
            raise CheckpointError(f"{path} was not written: {name} holds {tensor.dtype}, which a file cannot hold")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with replacing_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in ordered:
            file.write(contents(tensor))


def contents(tensor: Tensor) -> memoryview:
    """The numbers of a tensor as bytes, row by row: not copied when they lie so in the memory of the processor."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
