"""Tokens of one piece of audio with all that decoding needs: every form on the wire is made from this."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidInput, ModelMismatch, PayloadTooLarge
from service.media.audio import MAX_CHANNELS
from service.models.tokenizer.layout import TokenLayout


@dataclass(frozen=True)
class Tokens:
    """tokens int64 [C, N], each a code of layout.bits bits; num_samples at layout.sample_rate.

    Raises InvalidInput where the numbers do not fit together, so an instance is always decodable.
    """

    layout: TokenLayout
    model: str
    model_digest: str
    num_samples: int
    tokens: NDArray[np.int64]

    def __post_init__(self) -> None:
        layout = self.layout
        sizes = (layout.sample_rate, layout.hop_length, layout.window_frames, layout.time_patch, layout.bands)
        if min(sizes) < 1 or layout.window_frames % layout.time_patch:
            raise InvalidInput("sizes of tokens are positive, and window_frames is a multiple of time_patch")
        channels, count = self.tokens.shape
        if not 1 <= channels <= MAX_CHANNELS:
            raise InvalidInput(f"there are tokens of {channels} channels; accepted are 1 to {MAX_CHANNELS}")
        if self.num_samples < 1 or layout.num_tokens(self.num_samples) != count:
            raise InvalidInput(
                f"num_samples is {self.num_samples}, for {layout.num_tokens(max(0, self.num_samples))} tokens a "
                f"channel; there are {count}"
            )
        out_of_range = (self.tokens < 0) | (self.tokens >= 1 << layout.bits)
        if out_of_range.any():
            row, column = np.unravel_index(int(out_of_range.argmax()), self.tokens.shape)
            raise InvalidInput(
                f"token {int(column)} of channel {int(row)} is {self.tokens[row, column]}; accepted are 0 to "
                f"{(1 << layout.bits) - 1}",
                errors=[{"pointer": f"/tokens/{row}/{column}", "detail": "not a token of this model"}],
            )

    @property
    def duration_s(self) -> float:
        return self.num_samples / self.layout.sample_rate

    def check(self, layout: TokenLayout, model_digest: str, max_audio_s: float) -> None:
        """Raises ModelMismatch for tokens of another model than the one with this layout and digest, PayloadTooLarge
        beyond the limit. The windows may be shorter than the model's."""
        if self.model_digest != model_digest:
            raise ModelMismatch(f"the tokens were made by weights {self.model_digest}; {model_digest} are served here")
        ours = (layout.sample_rate, layout.hop_length, layout.time_patch, layout.bands, layout.bits)
        theirs = self.layout
        if ours != (theirs.sample_rate, theirs.hop_length, theirs.time_patch, theirs.bands, theirs.bits):
            raise ModelMismatch("the tokens have another layout than those of the model that is served here")
        if theirs.window_frames > layout.window_frames:
            raise InvalidInput(f"window_frames is {theirs.window_frames}; accepted are up to {layout.window_frames}")
        if self.duration_s > max_audio_s:
            raise PayloadTooLarge(f"the tokens stand for {self.duration_s:g} s; the limit is {max_audio_s:g} s")
