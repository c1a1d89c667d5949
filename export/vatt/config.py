"""The shapes of the towers. Sizes are those of table 7 of the paper, but for `TINY`, which is ours."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class AudioConfig:
    """A window of `window_samples` is cut into patches of `patch` samples; `merge` neighbours become one token.

    `merge` of 1 is the paper's: each patch is a token. Above, a token sees its patches through local layers first.
    """

    width: int
    layers: int
    heads: int
    merge: int = 1
    bands: int = 96  # of the local layers, where patches are merged
    max_hz: float = 8_000.0  # that the local layers begin by listening to
    sample_rate: int = 24_000
    window_samples: int = 153_600
    patch: int = 128

    @property
    def token_samples(self) -> int:
        return self.patch * self.merge

    @property
    def max_tokens(self) -> int:
        return self.window_samples // self.token_samples


@dataclass(frozen=True)
class TextConfig:
    """`style`: relative positions as T5 has them (the paper), or BERT: post-norm, absolute positions, mean pooling."""

    width: int
    layers: int
    heads: int
    style: Literal["t5", "bert"] = "t5"
    embedding: int = 300  # of a word piece, projected to the width
    vocabulary: int = 30_522
    max_tokens: int = 512


@dataclass(frozen=True)
class VattConfig:
    """`agnostic`: one transformer reads both modalities, one after the other; both configurations have its shape."""

    audio: AudioConfig
    text: TextConfig
    agnostic: bool = False
    dropout: float = 0.1
    fine_dims: int = 512  # of the space of sounds
    dims: int = 384  # of the space that audio and text share


TINY = VattConfig(
    AudioConfig(width=256, layers=6, heads=4, merge=8),
    TextConfig(width=384, layers=6, heads=12, style="bert", embedding=384),
)
"""The one that ships: 28 M parameters. Its text tower has the shape of MiniLM-L6, and can start from its weights."""
SMALL_TEXT = TextConfig(width=512, layers=6, heads=8)
SMALL = VattConfig(AudioConfig(width=512, layers=6, heads=8), SMALL_TEXT)
BASE = VattConfig(AudioConfig(width=768, layers=12, heads=12), SMALL_TEXT)
MEDIUM = VattConfig(
    AudioConfig(width=1024, layers=12, heads=16), TextConfig(width=1024, layers=12, heads=16), agnostic=True
)
PRESETS = {"tiny": TINY, "small": SMALL, "base": BASE, "medium": MEDIUM}
