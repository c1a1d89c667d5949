"""The shapes of the towers. Sizes are those of table 7 of the paper, but for `TINY`, which is ours."""

from dataclasses import dataclass
from typing import Literal

MERGED = 4  # patches that become one token through local layers


@dataclass(frozen=True)
class AudioConfig:
    """A window of `window_samples` is cut into patches of `patch` samples.

    `tokens_a_piece` of 0 is the paper's: each patch is a token, and a token of its own gathers what they say. Above,
    four patches become one token through local layers, and so many tokens one soft word piece, which the text tower
    reads.
    """

    width: int
    layers: int
    heads: int
    tokens_a_piece: int = 0
    bands: int = 80  # of the local layers
    sample_rate: int = 24_000
    window_samples: int = 153_600
    patch: int = 128

    @property
    def token_samples(self) -> int:
        return self.patch * (MERGED if self.tokens_a_piece else 1)

    @property
    def step_samples(self) -> int:
        """What the length of a waveform is a multiple of."""
        return self.token_samples * max(1, self.tokens_a_piece)

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
    vocabulary: int = 29_528
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
    AudioConfig(width=384, layers=4, heads=6, tokens_a_piece=4),
    TextConfig(width=384, layers=6, heads=12, style="bert", embedding=384),
    fine_dims=384,
)
"""The one that ships: 30 M parameters. It hears with the encoder of Whisper tiny.en, and reads what it heard, and text,
with MiniLM-L6: both towers begin as those."""
SMALL_TEXT = TextConfig(width=512, layers=6, heads=8)
SMALL = VattConfig(AudioConfig(width=512, layers=6, heads=8), SMALL_TEXT)
BASE = VattConfig(AudioConfig(width=768, layers=12, heads=12), SMALL_TEXT)
MEDIUM = VattConfig(
    AudioConfig(width=1024, layers=12, heads=16), TextConfig(width=1024, layers=12, heads=16), agnostic=True
)
PRESETS = {"tiny": TINY, "small": SMALL, "base": BASE, "medium": MEDIUM}
