"""What the model hears with each picture: statistics of the spectrum, or of wav2vec 2.0, around the picture's time.

Spectral columns stand at the samples c * hop_length of the sound, which n_fft / 2 zeros extend on both sides. A
picture's features are taken over the columns within half a window of its time that lie in the sound.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import amplitude_to_DB, create_dct, resample
from torchaudio.models import Wav2Vec2Model, wav2vec2_base, wav2vec2_model
from torchaudio.transforms import MelSpectrogram

from export.errors import ExportError

FeatureType = Literal["mel_spectrogram", "mfcc", "wav2vec2"]

WAV2VEC2_FILE = "wav2vec2_fairseq_base_ls960.pth"  # of torchaudio.pipelines.WAV2VEC2_BASE
_WAV2VEC2_RATE, _WAV2VEC2_STRIDE = 16_000, 320  # Hz, samples
_LOG_FLOOR = 1e-6  # added to the mel power before its logarithm
_TOP_DB = 80.0


class AudioFeatureExtractor(nn.Module):
    """Features [S, output_dim] of the pictures of a recording.

    `mel_spectrogram`: mean, then standard deviation, per bin of ln(mel + 1e-6) (HTK mel, power 2, periodic Hann);
    `mfcc`: the same of 40 orthonormal cosine coefficients of the mel level in dB, cut 80 dB below the window's loudest;
    `wav2vec2`: the mean of the last layer of wav2vec 2.0 (Baevski et al. 2020), 768 wide for the base model.
    """

    output_dim: int
    dct: Tensor
    mel: MelSpectrogram
    encoder: Wav2Vec2Model

    def __init__(
        self,
        feature_type: FeatureType = "mel_spectrogram",
        n_mels: int = 128,
        *,
        sample_rate: int = 48_000,
        n_fft: int = 2048,
        hop_length: int = 512,
        n_mfcc: int = 40,
        window_s: float = 1.0,
        wav2vec2_weights: Path | None = None,
        wav2vec2_config: Mapping[str, Any] | None = None,
    ) -> None:
        """`wav2vec2_weights`: a state dict as torchaudio publishes it, .pth or .safetensors; by default where
        torchaudio's own download of WAV2VEC2_BASE lies. `wav2vec2_config`: the arguments of
        torchaudio.models.wav2vec2_model for weights of another size than the base model's.

        Raises ExportError if the weights are not there or not of that model.
        """
        super().__init__()
        self.feature_type, self.sample_rate, self.n_fft, self.hop_length = feature_type, sample_rate, n_fft, hop_length
        self.reach_s = window_s / 2
        if feature_type == "wav2vec2":
            self.encoder = _wav2vec2(
                wav2vec2_weights or Path(torch.hub.get_dir(), "checkpoints", WAV2VEC2_FILE), wav2vec2_config
            )
            self.output_dim = self.encoder.encoder.feature_projection.projection.out_features
            return
        self.mel = MelSpectrogram(sample_rate, n_fft, hop_length=hop_length, n_mels=n_mels, center=False)
        self.register_buffer("dct", create_dct(n_mfcc, n_mels, norm="ortho"), persistent=False)
        self.output_dim = 2 * (n_mels if feature_type == "mel_spectrogram" else n_mfcc)

    @torch.no_grad()
    def extract_features(
        self, waveform: Tensor, timestamps: Sequence[float] | None = None, fps: float = 30.0
    ) -> Tensor:
        """waveform [n] or [C, n] at sample_rate, full scale at 1 -> features [S, output_dim].

        One row for each timestamp, in seconds of the recording, or for each frame of `fps` that begins in it. Channels
        are mixed by their mean. A picture whose window has none of the sound has zeros; see `heard`.
        """
        mono = waveform if waveform.dim() == 1 else waveform.mean(dim=0)
        if timestamps is None:
            timestamps = [k / fps for k in range(math.ceil(len(mono) / self.sample_rate * fps))]
        if self.feature_type == "wav2vec2":
            return self._wav2vec2_features(mono, timestamps)
        features = mono.new_zeros(len(timestamps), self.output_dim)
        columns = math.ceil(len(mono) / self.hop_length)
        for row, time_s in zip(features, timestamps, strict=True):
            first, last = self._window(time_s, self.sample_rate, self.hop_length)
            first, last = max(first, 0), min(last, columns - 1)
            if first <= last:
                row[:] = self._statistics(mono, first, last)
        return features

    def heard(self, num_samples: int, timestamps: Sequence[float]) -> Tensor:
        """bool [S]: whether the window of each picture has any of a sound of that length."""
        columns = math.ceil(num_samples / self.hop_length)
        windows = (self._window(time_s, self.sample_rate, self.hop_length) for time_s in timestamps)
        return torch.tensor([first < columns and last >= 0 for first, last in windows])

    def _window(self, time_s: float, sample_rate: int, hop_length: int) -> tuple[int, int]:
        """First and last column within half a window of the sample nearest to that time."""
        centre, reach = math.floor(time_s * sample_rate + 0.5), round(self.reach_s * sample_rate)
        return -((reach - centre) // hop_length), (centre + reach) // hop_length

    def _statistics(self, mono: Tensor, first: int, last: int) -> Tensor:
        start = first * self.hop_length - self.n_fft // 2
        stop = last * self.hop_length + self.n_fft // 2
        inside = mono[max(start, 0) : stop]
        window = F.pad(inside, (max(-start, 0), stop - max(start, 0) - len(inside)))
        mel = self.mel(window)
        if self.feature_type == "mel_spectrogram":
            columns = (mel + _LOG_FLOOR).log()
        else:
            columns = self.dct.T @ amplitude_to_DB(mel, 10.0, 1e-10, 0.0, _TOP_DB)
        deviation, mean = torch.std_mean(columns, dim=-1, correction=0)
        return torch.cat([mean, deviation])

    def _wav2vec2_features(self, mono: Tensor, timestamps: Sequence[float]) -> Tensor:
        sound = resample(mono, self.sample_rate, _WAV2VEC2_RATE)
        layers, _ = self.encoder.extract_features(sound[None])
        columns = layers[-1][0]  # [T, output_dim]
        features = mono.new_zeros(len(timestamps), self.output_dim)
        for row, time_s in zip(features, timestamps, strict=True):
            first, last = self._window(time_s, _WAV2VEC2_RATE, _WAV2VEC2_STRIDE)
            if (window := columns[max(first, 0) : max(last + 1, 0)]).numel():
                row[:] = window.mean(dim=0)
        return features


def _wav2vec2(path: Path, config: Mapping[str, Any] | None) -> Wav2Vec2Model:
    if not path.is_file():
        raise ExportError(f"there are no weights of wav2vec 2.0 at {path}: they are torchaudio's {WAV2VEC2_FILE}")
    model = wav2vec2_base() if config is None else wav2vec2_model(**config)
    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
        model.load_state_dict(state)
    except Exception as error:  # the readers of both formats raise whatever the damage leads to
        raise ExportError(f"{path} is not the weights of this wav2vec 2.0 model: {error}") from error
    return model.eval().requires_grad_(False)
