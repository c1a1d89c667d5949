"""Whisper (Radford et al., 2022, arXiv 2212.04356), inference only; parameter names are those of OpenAI's files."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

KeysValues = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class WhisperConfig:
    """The field names of ``dims`` in OpenAI's files; the defaults are tiny.en."""

    n_mels: int = 80
    n_audio_ctx: int = 1500
    n_audio_state: int = 384
    n_audio_head: int = 6
    n_audio_layer: int = 4
    n_vocab: int = 51864
    n_text_ctx: int = 448
    n_text_state: int = 384
    n_text_head: int = 6
    n_text_layer: int = 4


class Attention(nn.Module):
    """Multi-head attention of ``x`` [B, N, W] to keys and values [B, heads, M, W / heads]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def keys_values(self, x: Tensor) -> KeysValues:
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x: Tensor, memory: KeysValues, causal: bool = False) -> Tensor:
        y = F.scaled_dot_product_attention(self.split(self.query(x)), *memory, is_causal=causal)
        out: Tensor = self.out(y.transpose(1, 2).flatten(2))
        return out


class Block(nn.Module):
    def __init__(self, width: int, heads: int, cross: bool = False) -> None:
        super().__init__()
        self.attn = Attention(width, heads)
        self.attn_ln = nn.LayerNorm(width)
        self.cross_attn = Attention(width, heads) if cross else None
        self.cross_attn_ln = nn.LayerNorm(width) if cross else None
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.mlp_ln = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: KeysValues | None = None) -> Tensor:
        """x [B, N, W]; with ``memory`` (of the audio) the block is one of the decoder's, and causal."""
        y = self.attn_ln(x)
        x = x + self.attn(y, self.attn.keys_values(y), causal=memory is not None)
        if self.cross_attn is not None and self.cross_attn_ln is not None and memory is not None:
            x = x + self.cross_attn(self.cross_attn_ln(x), memory)
        out: Tensor = x + self.mlp(self.mlp_ln(x))
        return out


class AudioEncoder(nn.Module):
    positional_embedding: Tensor

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.n_audio_state
        self.conv1 = nn.Conv1d(config.n_mels, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.register_buffer("positional_embedding", torch.zeros(config.n_audio_ctx, width))
        self.blocks = nn.ModuleList(Block(width, config.n_audio_head) for _ in range(config.n_audio_layer))
        self.ln_post = nn.LayerNorm(width)

    def forward(self, mel: Tensor) -> Tensor:
        """mel [B, F, T] -> features [B, T / 2, W]."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.positional_embedding[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.ln_post(x)
        return out


class TextDecoder(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        width = config.n_text_state
        self.token_embedding = nn.Embedding(config.n_vocab, width)
        self.positional_embedding = nn.Parameter(torch.zeros(config.n_text_ctx, width))
        self.blocks = nn.ModuleList(Block(width, config.n_text_head, cross=True) for _ in range(config.n_text_layer))
        self.ln = nn.LayerNorm(width)

    def memories(self, features: Tensor) -> list[KeysValues]:
        """Each block's keys and values of the audio, computed once for all steps."""
        return [block.cross_attn.keys_values(features) for block in self.blocks]  # type: ignore[operator, union-attr]

    def forward(self, tokens: Tensor, memories: list[KeysValues]) -> Tensor:
        """tokens [B, N] -> logits of the next token [B, n_vocab]."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block(x, memory)
        return self.ln(x[:, -1]) @ self.token_embedding.weight.T


class Whisper(nn.Module):
    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.encoder = AudioEncoder(config)
        self.decoder = TextDecoder(config)
