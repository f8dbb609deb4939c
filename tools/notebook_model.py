"""PyTorch modules of the notebook and of the recipe melody, and inputs that Rust and Python make alike. NOTEBOOK.md specifies the module."""

import numpy as np
import torch


class Notebook(torch.nn.Module):
    """Four blocks of convolution, ReLU and batch norm; average pooling; linear. [N, 2, 64, 86] -> [N, outputs]."""

    def __init__(self, outputs=10):
        super().__init__()
        channels = [2, 8, 16, 32, 64]
        for i in range(1, 5):
            kernel = 5 if i == 1 else 3
            conv = torch.nn.Conv2d(channels[i - 1], channels[i], kernel, stride=2, padding=kernel // 2)
            torch.nn.init.kaiming_normal_(conv.weight, a=0.1)
            torch.nn.init.zeros_(conv.bias)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", torch.nn.BatchNorm2d(channels[i]))
        self.lin = torch.nn.Linear(64, outputs)

    def forward(self, x):
        for i in range(1, 5):
            x = getattr(self, f"bn{i}")(torch.relu(getattr(self, f"conv{i}")(x)))
        return self.lin(torch.nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Melody(torch.nn.Module):
    """The recipe melody: six blocks; maximum over the bands, mean over the frames; linear. [N, 1, 120, 251] -> [N, outputs]."""

    def __init__(self, outputs=10):
        super().__init__()
        channels, strides, dilations = [1, 16, 32, 64, 96, 96, 128], [2, 2, 2, 2, 1, 1], [1, 1, 1, 1, 1, 2]
        for i, (stride, dilation) in enumerate(zip(strides, dilations), 1):
            kernel = 5 if i == 1 else 3
            half = kernel // 2
            padding, dilation = (half, half * dilation), (1, dilation)
            setattr(self, f"conv{i}", torch.nn.Conv2d(channels[i - 1], channels[i], kernel, stride, padding, dilation))
            setattr(self, f"bn{i}", torch.nn.BatchNorm2d(channels[i]))
        self.lin = torch.nn.Linear(channels[-1], outputs)

    def forward(self, x):
        for i in range(1, 7):
            x = getattr(self, f"bn{i}")(torch.relu(getattr(self, f"conv{i}")(x)))
        return self.lin(x.amax(2).mean(2))


def hashed_uniform(seed, count):
    """`count` f32 values in [-1, 1) by 32-bit integer arithmetic (wrapping), equal to the last bit in any language.

    h = i * 0x9E3779B1 + seed * 0x85EBCA6B; h ^= h >> 16; h *= 0x7FEB352D; h ^= h >> 15; h *= 0x846CA68B; h ^= h >> 16;
    value = (h >> 8) / 2^23 - 1.
    """
    with np.errstate(over="ignore"):
        h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1)
        h = h + np.uint32(seed * 0x85EBCA6B & 0xFFFFFFFF)
        h ^= h >> np.uint32(16)
        h *= np.uint32(0x7FEB352D)
        h ^= h >> np.uint32(15)
        h *= np.uint32(0x846CA68B)
        h ^= h >> np.uint32(16)
    return ((h >> np.uint32(8)).astype(np.float64) / 2.0**23 - 1.0).astype(np.float32)
