"""What the scripts that write the golden files share: the files, random values, gradients."""

import json
import zlib

import numpy as np
import torch
from safetensors.numpy import save_file


class File:
    """The cases of one operation."""

    def __init__(self, operation):
        self.operation, self.cases, self.tensors = operation, [], {}

    def case(self, name, tensors, **parameters):
        assert all(c["name"] != name for c in self.cases), name
        self.cases.append({"name": name, **parameters})
        for key, value in tensors.items():
            if isinstance(value, torch.Tensor):
                value = value.detach().numpy()
            if value.dtype == np.float64 and not key.startswith("f64_"):
                value = value.astype(np.float32)
            if value.dtype == np.int64:
                value = value.astype(np.int32)
            # A copy in row-major order: safetensors writes the memory of an array, whatever its strides.
            self.tensors[f"{name}.{key}"] = np.array(value, order="C", copy=True)

    def save(self, folder):
        path = folder / f"{self.operation}.safetensors"
        save_file(self.tensors, path, metadata={"cases": json.dumps(self.cases)})
        print(f"{path}: {len(self.cases)} cases, {path.stat().st_size} bytes")


class Draw:
    """Random f32 values, keyed by the operation and the case, so that adding a case leaves the others as they are."""

    def __init__(self, *key):
        self.generator = np.random.Generator(np.random.PCG64(zlib.crc32("/".join(key).encode())))

    def normal(self, *shape, scale=1.0, grad=True):
        values = (self.generator.standard_normal(shape) * scale).astype(np.float32).astype(np.float64)
        return torch.tensor(values, requires_grad=grad)

    def positive(self, *shape):
        values = self.generator.uniform(0.25, 2.0, shape).astype(np.float32).astype(np.float64)
        return torch.tensor(values, requires_grad=True)

    def labels(self, n, classes):
        return self.integers(classes, n)

    def integers(self, bound, *shape):
        return torch.tensor(self.generator.integers(0, bound, shape))


def with_gradients(draw, inputs, function):
    """y, dy and the gradient of every input that asks for one."""
    y = function(*inputs.values())
    dy = draw.normal(*y.shape, grad=False)
    wanted = {k: v for k, v in inputs.items() if v.requires_grad}
    gradients = torch.autograd.grad(y, list(wanted.values()), dy)
    return {**inputs, "y": y, "dy": dy, **{f"d{k}": g for k, g in zip(wanted, gradients)}}
