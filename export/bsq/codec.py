"""The whole path as it is served: waveform -> mel -> windows -> tokens -> mel -> waveform, on one clip at a time."""

import torch
from torch import Tensor
from torch.nn import functional as F

from export.bsq.model import AudioBSQ
from export.mel import LogMel, MelConfig, denormalise, normalise
from export.metrics import Waveform
from export.vocoder.griffin_lim import GriffinLim
from export.vocoder.model import Vocoder


class Codec:
    """Mel spectrograms are [T, F] in dB of full scale, waveforms [n] at the front end's rate."""

    def __init__(self, tokenizer: AudioBSQ, vocoder: Vocoder, mel: MelConfig) -> None:
        self.tokenizer, self.vocoder, self.mel = tokenizer.eval(), vocoder.eval(), mel
        self.front_end = LogMel(mel)
        self.griffin_lim = GriffinLim(mel)

    @property
    def bits_per_second(self) -> float:
        config = self.tokenizer.config
        return self.mel.sample_rate / self.mel.hop_length / config.time_patch * config.bands * config.quantizer.bits

    @torch.inference_mode()
    def analyse(self, waveform: Waveform) -> Tensor:
        """waveform [n] -> mel [T, F]."""
        mel: Tensor = self.front_end(torch.from_numpy(waveform))
        return mel

    @torch.inference_mode()
    def encode(self, mel: Tensor) -> list[Tensor]:
        """mel [T, F] -> the tokens [N] of each window."""
        model = normalise(mel, self.mel)
        return [self._encode_window(window) for window in model.split(self.tokenizer.config.num_frames)]

    def _encode_window(self, mel: Tensor) -> Tensor:
        missing = -len(mel) % self.tokenizer.config.time_patch
        padded = F.pad(mel, (0, 0, 0, missing), value=-1.0)
        return self.tokenizer.encode(padded[None], torch.tensor([len(mel)]))[0]

    @torch.inference_mode()
    def decode(self, windows: list[Tensor], num_frames: int) -> Tensor:
        """The tokens [N] of each window -> mel [num_frames, F]."""
        remaining = num_frames
        mels = []
        for tokens in windows:
            mel = self.tokenizer.decode(tokens[None], torch.tensor([remaining]))[0, :remaining]
            remaining -= len(mel)
            mels.append(mel)
        return denormalise(torch.cat(mels), self.mel)

    def reconstruct(self, mel: Tensor) -> Tensor:
        """mel [T, F] -> mel [T, F] through the tokens."""
        return self.decode(self.encode(mel), len(mel))

    @torch.inference_mode()
    def synthesise(self, mel: Tensor, num_samples: int, neural: bool = True) -> Waveform:
        """mel [T, F] -> waveform [num_samples], by the vocoder or by Griffin-Lim."""
        waveform = self.vocoder(normalise(mel, self.mel)[None])[0] if neural else self.griffin_lim(mel)
        samples: Waveform = waveform[:num_samples].clamp(-1.0, 1.0).numpy()
        return samples
