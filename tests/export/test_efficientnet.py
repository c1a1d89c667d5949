"""The image encoder of small models: what is published of it gives the published network's features, to the bit that
folding its normalisation leaves."""

import torch
from torch import Tensor
from torch.nn import functional as F

from export.vggt_audio.efficientnet import BN_EPS, SEEN, EfficientNetEmbed, InvertedResidual, load_folded

State = dict[str, Tensor]


def published(embed: EfficientNetEmbed) -> State:
    """Parameters such as a checkpoint has, at random."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int, low: float = -1.0) -> Tensor:
        return low + (1 - low) * torch.rand(shape, generator=generator)

    state: State = {}

    def add(convolution: torch.nn.Conv2d, name: str, norm: str) -> None:
        shape = convolution.weight.shape
        state[f"{name}.weight"] = random(*shape) / shape[1:].numel() ** 0.5
        state[f"{norm}.weight"], state[f"{norm}.running_var"] = (random(shape[0], low=0.5) for _ in range(2))
        state[f"{norm}.bias"], state[f"{norm}.running_mean"] = (random(shape[0]) for _ in range(2))

    add(embed.stem, "_conv_stem", "_bn0")
    for number, block in enumerate(embed.blocks):
        assert isinstance(block, InvertedResidual)
        at = f"_blocks.{number}."
        if block.expand is not None:
            add(block.expand, f"{at}_expand_conv", f"{at}_bn0")
        add(block.depthwise, f"{at}_depthwise_conv", f"{at}_bn1")
        add(block.project, f"{at}_project_conv", f"{at}_bn2")
    return state


def normed(x: Tensor, state: State, name: str) -> Tensor:
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(x, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=BN_EPS)


def same(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """TensorFlow's padding: as little as gives ceil(n / stride), the odd one behind."""
    for axis in (3, 2):
        size, kernel = x.shape[axis], weight.shape[axis]
        missing = max(0, (-(-size // stride) - 1) * stride + kernel - size)
        around = (missing // 2, missing - missing // 2)
        x = F.pad(x, around if axis == 3 else (0, 0, *around))
    return F.conv2d(x, weight, stride=stride, groups=groups)


def test_blocks_give_what_the_published_network_gives() -> None:
    embed = EfficientNetEmbed(64, 8)
    state = published(embed)
    load_folded(embed, state)
    images = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    seen: list[Tensor] = []
    for block in embed.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    embed(images)
    x = F.relu6(normed(same(images * embed.scale + embed.shift, state["_conv_stem.weight"], 2, 1), state, "_bn0"))
    for number, (block, found) in enumerate(zip(embed.blocks, seen, strict=True)):
        at, before = f"_blocks.{number}.", x
        if block.expand is not None:
            x = F.relu6(normed(F.conv2d(x, state[f"{at}_expand_conv.weight"]), state, f"{at}_bn0"))
        stride = block.depthwise.stride[0]
        if number == 11:  # here the model pads otherwise, as sizes may be odd
            break
        x = F.relu6(normed(same(x, state[f"{at}_depthwise_conv.weight"], stride, x.shape[1]), state, f"{at}_bn1"))
        x = normed(F.conv2d(x, state[f"{at}_project_conv.weight"]), state, f"{at}_bn2")
        x = before + x if block.residual else x
        torch.testing.assert_close(found, x, atol=1e-4, rtol=1e-4)
    assert number == 11


def test_every_size_of_whole_patches_becomes_their_tokens() -> None:
    embed = EfficientNetEmbed(64, 8)
    for rows, columns in ((1, 1), (3, 4), (5, 2), (4, 4)):
        assert embed(torch.randn(2, 3, 16 * rows, 16 * columns)).shape == (2, rows * columns, 8)


def test_training_leaves_it_as_it_was() -> None:
    embed = EfficientNetEmbed(64, 8)
    embed(torch.randn(1, 3, 32, 32)).square().sum().backward()
    learnt = {name for name, parameter in embed.named_parameters() if parameter.grad is not None}
    assert learnt == {"norm.weight", "norm.bias", "proj.weight", "proj.bias", "pos_embed"}
    assert embed.norm.normalized_shape == (sum(SEEN.values()),)
