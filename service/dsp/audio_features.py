"""What a room model hears with each picture: statistics of the spectrum around the picture's time.

Spectral columns stand at the samples c * hop_length of the sound, which n_fft / 2 zeros extend on both sides. A
picture's features are the mean and the standard deviation, per bin, of the columns within half a window of its time.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
import torchaudio.functional
import torchaudio.transforms
from numpy.typing import NDArray

from service.dsp.sync import FrameClock, WindowCutter

AudioFeature = Literal["log_mel", "mfcc"]

N_MFCC = 40
_LOG_FLOOR = 1e-6  # added to the mel power before its logarithm
_TOP_DB = 80.0


@dataclass(frozen=True)
class FeatureParameters:
    """The constants of a model's features, as its config.pbtxt states them under `parameters`."""

    sample_rate: int  # Hz
    n_fft: int
    hop_length: int
    n_mels: int
    audio_feature: AudioFeature
    audio_feature_dim: int
    audio_window_s: float

    @classmethod
    def from_config(cls, parameters: Mapping[str, str]) -> Self:
        """Raises ValueError naming the parameter that is missing, no number, or at odds with the others."""
        kinds: dict[str, type] = {"audio_window_s": float, "audio_feature": str}
        values: dict[str, Any] = {}
        for name in (field.name for field in fields(cls)):
            if name not in parameters:
                raise ValueError(f"config.pbtxt lacks the parameter {name!r}")
            try:
                values[name] = kinds.get(name, int)(parameters[name])
            except ValueError as exc:
                raise ValueError(f"config.pbtxt has {parameters[name]!r} as {name}") from exc
        if values["audio_feature"] not in get_args(AudioFeature):
            raise ValueError(f"config.pbtxt has {values['audio_feature']!r} as audio_feature")
        read = cls(**values)
        if read.audio_feature_dim != 2 * read.bins:
            raise ValueError(f"{read.audio_feature} has {2 * read.bins} features, not {read.audio_feature_dim}")
        return read

    @property
    def bins(self) -> int:
        return self.n_mels if self.audio_feature == "log_mel" else N_MFCC

    @property
    def reach(self) -> int:
        """Samples from the middle of a window to its ends."""
        return round(self.audio_window_s * self.sample_rate / 2)


class AudioFeatureExtractor:
    """Computes features; holds the filters, and no state between calls, so threads may share it."""

    def __init__(self, parameters: FeatureParameters) -> None:
        self.parameters = parameters
        self._mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=parameters.sample_rate,
            n_fft=parameters.n_fft,
            hop_length=parameters.hop_length,
            n_mels=parameters.n_mels,
            center=False,
        )
        self._dct = torchaudio.functional.create_dct(N_MFCC, parameters.n_mels, norm="ortho").T

    def listen(self, clock: FrameClock) -> "Listening":
        """Features of these pictures, from a sound that comes in pieces. `clock` counts samples at `sample_rate`."""
        return Listening(self, clock)

    def extract(self, samples: NDArray[np.float32], clock: FrameClock) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """samples [C, n] -> features [S, 2 * bins] and valid [S], as `Listening.finish`."""
        listening = self.listen(clock)
        listening.push(samples)
        return listening.finish()

    def statistics(self, window: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [(columns - 1) * hop_length + n_fft] -> mean, then standard deviation, of the columns [2 * bins]."""
        with torch.inference_mode():
            mel = self._mel(torch.from_numpy(window))
            columns = torch.log(mel + _LOG_FLOOR) if self.parameters.audio_feature == "log_mel" else self._mfcc(mel)
            deviation, mean = torch.std_mean(columns, dim=-1, correction=0)
            features: NDArray[np.float32] = torch.cat([mean, deviation]).numpy()
        return features

    def _mfcc(self, mel: torch.Tensor) -> torch.Tensor:
        """mel [n_mels, columns] -> [N_MFCC, columns]; levels are cut 80 dB below the loudest of the window."""
        coefficients: torch.Tensor = self._dct @ torchaudio.functional.amplitude_to_DB(mel, 10.0, 1e-10, 0.0, _TOP_DB)
        return coefficients


class Listening:
    """The features of one recording, while it arrives. Memory: a window of samples, and the features."""

    def __init__(self, extractor: AudioFeatureExtractor, clock: FrameClock) -> None:
        parameters = extractor.parameters
        if clock.sample_rate != parameters.sample_rate:
            raise ValueError(f"the clock counts samples at {clock.sample_rate} Hz, not at {parameters.sample_rate} Hz")
        self._extractor, self._hop, self._n_fft = extractor, parameters.hop_length, parameters.n_fft
        self._first = np.maximum(0, -((parameters.reach - clock.positions) // self._hop))
        self._last = (clock.positions + parameters.reach) // self._hop
        columns = 2 * parameters.reach // self._hop + 1
        starts = self._first * self._hop - self._n_fft // 2
        self._cutter = WindowCutter(starts, (columns - 1) * self._hop + self._n_fft, max_samples=1)
        self._features = np.zeros((clock.num_frames, 2 * parameters.bins), np.float32)
        self._valid = np.zeros(clock.num_frames, np.bool_)
        self._next = 0

    def push(self, samples: NDArray[np.float32]) -> None:
        """The next samples [C, n] at `sample_rate`; the channels are mixed by their mean."""
        for windows in self._cutter.push(samples.mean(axis=0, keepdims=True)):
            self._add(windows)

    def finish(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """features [S, 2 * bins] and valid [S]: whether any of the sound is in the frame's window; else zeros."""
        columns = -(-self._cutter.num_samples // self._hop)
        self._last = np.minimum(self._last, columns - 1)
        for windows in self._cutter.finish():
            self._add(windows)
        return self._features, self._valid

    def _add(self, windows: NDArray[np.float32]) -> None:
        for window in windows[:, 0]:
            columns = int(self._last[self._next] - self._first[self._next]) + 1
            if columns > 0:
                samples = np.ascontiguousarray(window[: (columns - 1) * self._hop + self._n_fft])
                self._features[self._next] = self._extractor.statistics(samples)
                self._valid[self._next] = True
            self._next += 1
