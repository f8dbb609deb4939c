"""The recipes' networks as PyTorch modules, with the names and layouts of the model files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .model import Model

# Channels, kernel, stride and dilation in time of each block.
NOTEBOOK = [(8, 5, 2, 1), (16, 3, 2, 1), (32, 3, 2, 1), (64, 3, 2, 1)]
MELODY = [(16, 5, 2, 1), (32, 3, 2, 1), (64, 3, 2, 1), (96, 3, 2, 1), (96, 3, 1, 1), (128, 3, 1, 2)]


class _Blocks(nn.Module):  # type: ignore[misc, unused-ignore]
    """Blocks of convolution, ReLU and batch norm, then one vector an item, then a linear layer."""

    def __init__(self, channels: int, blocks: list[tuple[int, int, int, int]], slope: float, outputs: int) -> None:
        super().__init__()
        self._count = len(blocks)
        for number, (width, kernel, stride, dilation) in enumerate(blocks, 1):
            padding = (kernel // 2, kernel // 2 * dilation)
            conv = nn.Conv2d(channels, width, kernel, stride=stride, padding=padding, dilation=(1, dilation))
            nn.init.kaiming_normal_(conv.weight, a=slope)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.add_module(f"conv{number}", conv)
            self.add_module(f"bn{number}", nn.BatchNorm2d(width))
            channels = width
        self.lin = nn.Linear(channels, outputs)

    def features(self, x: Tensor) -> Tensor:
        """The last block's maps [N, C, bands, frames]."""
        for number in range(1, self._count + 1):
            x = torch.relu(self.get_submodule(f"conv{number}")(x))
            x = self.get_submodule(f"bn{number}")(x)
        return x

    def vectors(self, x: Tensor) -> Tensor:
        """What the last layer sees [N, C]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Logits [N, outputs] of standardised spectrograms [N, channels, bands, frames]."""
        logits: Tensor = self.lin(self.vectors(x))
        return logits


class Notebook(_Blocks):
    """The reference notebook's network: four blocks, and the mean over both axes. [N, 2, 64, 86] -> [N, outputs]."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__(2, NOTEBOOK, 0.1, outputs)

    def vectors(self, x: Tensor) -> Tensor:
        """What the last layer sees [N, 64]."""
        return self.features(x).mean(dim=(2, 3))


class Melody(_Blocks):
    """`melody`'s network: six blocks, the maximum over pitch, the mean over time. [N, 1, 120, 251] -> [N, outputs]."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__(1, MELODY, 0.0, outputs)

    def vectors(self, x: Tensor) -> Tensor:
        """What the last layer sees [N, 128]."""
        return self.features(x).amax(dim=2).mean(dim=2)


def standardise(levels: Any, recipe: str = "melody") -> Tensor:
    """Spectrograms in decibels [N, channels, bands, frames], as `humdinger.spectrogram` gives them of a window, as the network sees them:
    each with mean 0 and standard deviation 1."""
    x = torch.as_tensor(levels)
    deviation, mean = torch.std_mean(x, dim=(1, 2, 3), keepdim=True)
    return (x - mean) / (deviation + (1e-5 if recipe == "melody" else 0))


def module(model: Model) -> Notebook | Melody:
    """A model's network with its weights, in evaluation mode."""
    made = (Melody if model.recipe == "melody" else Notebook)(len(model.songs))
    weights = {name: torch.as_tensor(values.copy()) for name, values in model.weights().items()}
    lacking, unknown = made.load_state_dict(weights, strict=False)
    lacking = [name for name in lacking if not name.endswith(".num_batches_tracked")]
    if lacking or unknown:
        raise ValueError(f"the model's network is of an earlier humdinger: {', '.join([*lacking, *unknown])}; train it again")
    made.eval()
    return made
