"""Log-mel of a window as CLAP hears it: what `ClapFeatureExtractor` of transformers computes, without its random crops.

Frames are centred, the window is mirrored at its ends, and levels are in dB of power, so that full scale depends on
nothing but the samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray

Padding = Literal["repeatpad", "repeat", "pad"]

_MIN_POWER = 1e-10


@dataclass(frozen=True)
class LogMelParameters:
    """The constants of a model's log-mel, as its config.pbtxt states them under `parameters`."""

    sample_rate: int  # Hz
    window_samples: int
    n_fft: int
    hop_length: int
    n_mels: int
    f_min: float  # Hz
    f_max: float
    mel_scale: str  # "htk" or "slaney"
    mel_norm: str | None  # "slaney": filters of equal area
    padding: Padding  # how sound shorter than a window fills it

    @classmethod
    def from_config(cls, parameters: Mapping[str, str]) -> Self:
        """Raises KeyError or ValueError for a parameter that is missing or not known."""
        norm, padding = parameters["mel_norm"], parameters["padding"]
        if norm not in ("slaney", "none") or padding not in get_args(Padding):
            raise ValueError(f"config.pbtxt has mel_norm {norm!r} and padding {padding!r}, which are not known")
        return cls(
            sample_rate=int(parameters["sample_rate"]),
            window_samples=int(parameters["window_samples"]),
            n_fft=int(parameters["n_fft"]),
            hop_length=int(parameters["hop_length"]),
            n_mels=int(parameters["n_mels"]),
            f_min=float(parameters["f_min"]),
            f_max=float(parameters["f_max"]),
            mel_scale=parameters["mel_scale"],
            mel_norm=None if norm == "none" else norm,
            padding=padding,  # type: ignore[arg-type]  # checked above
        )


class LogMelExtractor:
    """Computes log-mel; holds the filters, and no state between calls, so threads may share it."""

    def __init__(self, parameters: LogMelParameters) -> None:
        self.parameters = parameters
        # in float64, as the reference: the quietest bins are far below float32's rounding of the loudest
        self._window = torch.hann_window(parameters.n_fft, dtype=torch.float64)
        filters = torchaudio.functional.melscale_fbanks(
            parameters.n_fft // 2 + 1,
            parameters.f_min,
            parameters.f_max,
            parameters.n_mels,
            parameters.sample_rate,
            norm=parameters.mel_norm,
            mel_scale=parameters.mel_scale,
        )  # [n_fft // 2 + 1, n_mels]
        self._filters = filters.double()

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """samples [n], 1 to window_samples, full scale at 1.0 -> [1 + window_samples // hop_length, n_mels] in dB."""
        parameters = self.parameters
        with torch.inference_mode():
            spectrum = torch.stft(
                torch.from_numpy(_filled(samples, parameters.window_samples, parameters.padding)).double(),
                parameters.n_fft,
                parameters.hop_length,
                window=self._window,
                center=True,
                pad_mode="reflect",
                return_complex=True,
            )
            power = (spectrum.real.square() + spectrum.imag.square()).T @ self._filters
            level: NDArray[np.float32] = power.clamp_(min=_MIN_POWER).log10_().mul_(10).float().numpy()
        return level


def _filled(samples: NDArray[np.float32], length: int, padding: Padding) -> NDArray[np.float32]:
    """As many samples as a window has."""
    if padding == "repeat":
        return np.resize(samples, length)
    if padding == "repeatpad":
        samples = np.tile(samples, length // len(samples))
    return np.pad(samples, (0, length - len(samples)))
