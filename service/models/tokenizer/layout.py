"""How sound becomes a grid of tokens: the model's constants, and the arithmetic between samples, frames and tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

from service.errors import InvalidInput

# windows are padded to a multiple of this many frames, so that requests of near lengths share a batch
BUCKET_FRAMES = 128


@dataclass(frozen=True)
class TokenLayout:
    """A patch of time_patch frames is one time step of `bands` tokens, low frequencies first; time steps follow.

    `window_frames` is a multiple of time_patch: what the model saw at once when it made the tokens. The last window is
    shorter, and within it the last patch may be.
    """

    sample_rate: int  # Hz
    hop_length: int  # samples a frame
    window_frames: int
    time_patch: int  # frames a token spans
    bands: int  # tokens side by side in one time step
    bits: int  # a token

    @classmethod
    def from_config(cls, parameters: Mapping[str, str]) -> Self:
        """From the `parameters` of tokenizer_encoder. Raises ValueError for one that is missing or does not fit."""
        names = ("sample_rate", "hop_length", "window_frames", "time_patch", "freq_patch", "n_mels", "bits")
        if missing := [name for name in names if name not in parameters]:
            raise ValueError(f"config.pbtxt lacks the parameters {', '.join(missing)}")
        value = {name: int(parameters[name]) for name in names}
        if value["n_mels"] % value["freq_patch"] or value["window_frames"] % value["time_patch"]:
            raise ValueError("config.pbtxt: n_mels and window_frames must be multiples of freq_patch and time_patch")
        return cls(
            sample_rate=value["sample_rate"],
            hop_length=value["hop_length"],
            window_frames=value["window_frames"],
            time_patch=value["time_patch"],
            bands=value["n_mels"] // value["freq_patch"],
            bits=value["bits"],
        )

    def with_windows(self, window_frames: int) -> Self:
        """The same model with shorter windows. Raises InvalidInput for a number of frames that it cannot take."""
        if window_frames % self.time_patch or not self.time_patch <= window_frames <= self.window_frames:
            raise InvalidInput(
                f"window_frames is {window_frames}; accepted: multiples of {self.time_patch} up to {self.window_frames}"
            )
        return replace(self, window_frames=window_frames)

    @property
    def tokens_per_second(self) -> float:
        return self.sample_rate / (self.hop_length * self.time_patch) * self.bands

    def num_frames(self, num_samples: int) -> int:
        return -(-num_samples // self.hop_length)

    def grid(self, num_samples: int) -> tuple[int, int]:
        """Time steps and bands of a whole signal."""
        return -(-self.num_frames(num_samples) // self.time_patch), self.bands

    def num_tokens(self, num_samples: int) -> int:
        time_steps, bands = self.grid(num_samples)
        return time_steps * bands

    def tokens_of(self, num_frames: int) -> int:
        """Tokens of one window."""
        return -(-num_frames // self.time_patch) * self.bands

    def windows(self, num_samples: int) -> Iterator[int]:
        """Frames of each window in turn."""
        num_frames = self.num_frames(num_samples)
        for first in range(0, num_frames, self.window_frames):
            yield min(self.window_frames, num_frames - first)


def bucket(num_frames: int) -> int:
    """Frames to which a window is padded."""
    return -(-num_frames // BUCKET_FRAMES) * BUCKET_FRAMES
