"""Mel to waveform without a network: least-squares spectrum, then Griffin and Lim's phase iteration (torchaudio)."""

import torch
import torchaudio.functional
from torch import Tensor, nn
from torch.nn import functional as F

from export.mel import MelConfig

ITERATIONS = 32
MOMENTUM = 0.99


class GriffinLim(nn.Module):
    """mel [T, F] in dB of full scale -> waveform [T * hop]; the phases start at zero, so it is deterministic."""

    inverse: Tensor
    window: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        bins = config.n_fft // 2 + 1
        filters = torchaudio.functional.melscale_fbanks(
            bins, config.f_min, config.f_max, config.n_mels, config.sample_rate
        )
        self.register_buffer("inverse", torch.linalg.pinv(filters.double()).float())  # [F, bins]
        self.register_buffer("window", torch.hann_window(config.n_fft))

    def forward(self, mel: Tensor) -> Tensor:
        config = self.config
        # The last hop of the signal lies behind the last frame's centre: one more, silent frame carries it.
        level = F.pad(mel, (0, 0, 0, 1), value=config.db_min)
        power = torch.where(level > config.db_min, 10 ** ((level + config.db_reference) / 10), 0.0)
        magnitude = (power @ self.inverse).clamp(min=0).sqrt().T
        waveform: Tensor = torchaudio.functional.griffinlim(
            magnitude,
            self.window,
            config.n_fft,
            config.hop_length,
            config.n_fft,
            power=1.0,
            n_iter=ITERATIONS,
            momentum=MOMENTUM,
            length=len(mel) * config.hop_length,
            rand_init=False,
        )
        return waveform
