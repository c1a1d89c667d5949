"""Audio BSQ-ViT: a transformer encoder and decoder over time-frequency patches with a binary spherical code between.

Mel spectrograms are in model space, [-1, 1] (see `export.mel`), [B, T, F]; T is any multiple of `time_patch` up to
`num_frames`. Tokens are in raster order, time-major: token = t' * bands + f'.
"""

from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from export.bsq.quantizer import BinarySphericalQuantizer, Quantized, QuantizerConfig
from export.layers.attention import MaskKind, attention_mask
from export.layers.convolution import ConvAxis
from export.layers.transformer import Transformer, TransformerConfig

SILENCE = -1.0  # the floor of the mel spectrogram in model space


@dataclass(frozen=True)
class TokenizerConfig:
    """`base` is the published configuration; `small` the reference that ships."""

    n_mels: int = 128
    num_frames: int = 1024
    time_patch: int = 16
    freq_patch: int = 16
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    conv_kernel: int = 31
    conv_axis: ConvAxis = "raster"
    layer_scale: float | None = None
    head_width: int = 3072  # the reconstruction head's hidden layer; 0: none
    positions: Literal["table", "factorised"] = "table"
    mask: MaskKind = "none"
    mask_block: int = 1
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)

    def __post_init__(self) -> None:
        if self.num_frames % self.time_patch or self.n_mels % self.freq_patch:
            raise ValueError(
                f"patches {self.time_patch} x {self.freq_patch} do not tile {self.num_frames} x {self.n_mels}"
            )

    @property
    def bands(self) -> int:
        return self.n_mels // self.freq_patch

    @property
    def steps(self) -> int:
        return self.num_frames // self.time_patch

    @property
    def transformer(self) -> TransformerConfig:
        return TransformerConfig(
            self.width,
            self.layers,
            self.heads,
            self.mlp_ratio,
            self.conv_kernel,
            self.conv_axis,
            self.bands,
            self.layer_scale,
        )


BASE = TokenizerConfig()
SMALL = replace(
    BASE,
    time_patch=8,
    freq_patch=32,
    width=192,
    layers=3,
    heads=6,
    conv_kernel=7,
    conv_axis="time",
    head_width=768,
    positions="factorised",
    quantizer=QuantizerConfig(inv_temperature=30.0),
)
PRESETS = {"base": BASE, "small": SMALL}


class Positions(nn.Module):
    """Learned positions of the first tokens of a window: one table, or the sum of a time and a frequency table."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.bands = config.bands
        self.factorised = config.positions == "factorised"
        if self.factorised:
            self.time = nn.Parameter(torch.randn(config.steps, 1, config.width) * 0.02)
            self.frequency = nn.Parameter(torch.randn(1, config.bands, config.width) * 0.02)
        else:
            self.table = nn.Parameter(torch.randn(config.steps, config.bands, config.width) * 0.02)

    def forward(self, steps: int) -> Tensor:
        """The rows [steps * bands, W]; slicing is exact because the raster is time-major."""
        table = self.time[:steps] + self.frequency if self.factorised else self.table[:steps]
        return table.reshape(steps * self.bands, -1)


class Tower(nn.Module):
    """Positions -> LayerNorm -> blocks -> LayerNorm: what encoder and decoder have in common."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.positions = Positions(config)
        self.norm_pre = nn.LayerNorm(config.width)
        self.transformer = Transformer(config.transformer)
        self.norm_post = nn.LayerNorm(config.width)

    def forward(self, x: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """x [B, N, W]; num_frames [B]: how many frames of each item are not padding."""
        config = self.config
        length = x.shape[1]
        x = self.norm_pre(x + self.positions(length // config.bands))
        mask = attention_mask(config.mask, length, config.mask_block, x.device)
        valid = None
        if num_frames is not None:
            valid = valid_tokens(config, num_frames, length)
            keys = valid[:, None, None, :]
            mask = keys if mask is None else mask & keys
        return self.norm_post(self.transformer(x, mask, valid))


class Encoder(nn.Module):
    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.Linear(config.time_patch * config.freq_patch, config.width, bias=False)
        self.tower = Tower(config)

    def forward(self, mel: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """mel [B, T, F] -> [B, N, W]."""
        return self.tower(self.patch_embed(patchify(self.config, mel)), num_frames)


class Decoder(nn.Module):
    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = Tower(config)
        hidden = config.head_width or config.width
        self.head_in = nn.Linear(config.width, hidden) if config.head_width else None
        self.head_out = nn.Linear(hidden, config.time_patch * config.freq_patch)

    def forward(self, x: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """x [B, N, W] -> mel [B, T, F]."""
        x = self.tower(x, num_frames)
        if self.head_in is not None:
            x = torch.tanh(self.head_in(x))
        return unpatchify(self.config, self.head_out(x))


class AudioBSQ(nn.Module):
    """Encoder -> quantisation embedding -> quantiser -> post-quantisation embedding -> decoder."""

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.quant_embed = nn.Linear(config.width, config.quantizer.bits)
        self.quantizer = BinarySphericalQuantizer(config.quantizer)
        self.post_quant_embed = nn.Linear(config.quantizer.bits, config.width)
        self.decoder = Decoder(config)

    def checkpoint_gradients(self) -> None:
        """Trade time for memory: recompute the blocks' activations in the backward pass."""
        self.encoder.tower.transformer.checkpointing = True
        self.decoder.tower.transformer.checkpointing = True

    def latents(self, mel: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """mel [B, T, F] -> z [B, N, d] float32, on the sphere."""
        return self.quantizer.project(self.quant_embed(self.encoder(mel, num_frames)))

    def encode(self, mel: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """mel [B, T, F] -> tokens [B, N] int64; tokens past num_frames [B] are 0."""
        tokens = self.quantizer.tokens(self.latents(mel, num_frames))
        if num_frames is not None:
            tokens = tokens * valid_tokens(self.config, num_frames, tokens.shape[1])
        return tokens

    def decode(self, tokens: Tensor, num_frames: Tensor | None = None) -> Tensor:
        """tokens [B, N] -> mel [B, T, F]; frames past num_frames [B] are silent."""
        codes = self.quantizer.codes(tokens).to(self.post_quant_embed.weight.dtype)
        mel: Tensor = self.decoder(self.post_quant_embed(codes), num_frames)
        if num_frames is not None:
            frames = torch.arange(mel.shape[1], device=mel.device)
            mel = torch.where((frames < num_frames[:, None])[..., None], mel, SILENCE)
        return mel

    def forward(self, mel: Tensor, num_frames: Tensor | None = None) -> tuple[Tensor, Quantized]:
        """mel [B, T, F] -> (reconstruction [B, T, F], what the quantiser did). The quantiser runs in float32."""
        hidden = self.quant_embed(self.encoder(mel, num_frames))
        with torch.autocast(mel.device.type, enabled=False):
            quantized = self.quantizer(self.quantizer.project(hidden))
        return self.decoder(self.post_quant_embed(quantized.codes), num_frames), quantized


def valid_tokens(config: TokenizerConfig, num_frames: Tensor, length: int) -> Tensor:
    """num_frames [B] -> [B, N] boolean: tokens that hold at least one frame that is not padding."""
    steps = torch.arange(length, device=num_frames.device) // config.bands
    return steps * config.time_patch < num_frames[:, None]


def patchify(config: TokenizerConfig, mel: Tensor) -> Tensor:
    """mel [B, T, F] -> [B, T' * F', tp * fp]; inside a patch the order is time-major."""
    batch, frames, _ = mel.shape
    steps = frames // config.time_patch
    x = mel.reshape(batch, steps, config.time_patch, config.bands, config.freq_patch).transpose(2, 3)
    return x.reshape(batch, steps * config.bands, config.time_patch * config.freq_patch)


def unpatchify(config: TokenizerConfig, x: Tensor) -> Tensor:
    """[B, T' * F', tp * fp] -> mel [B, T, F]: the exact inverse of `patchify`."""
    batch, length, _ = x.shape
    steps = length // config.bands
    x = x.reshape(batch, steps, config.bands, config.time_patch, config.freq_patch).transpose(2, 3)
    return x.reshape(batch, steps * config.time_patch, config.n_mels)
