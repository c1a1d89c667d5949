"""Mel to waveform without a vocoder: least-squares spectrum, then Griffin and Lim's phase iteration."""

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray

from service.dsp.mel import MelFrontEnd

# As the phases start from the same place in every chunk of a mel, chunks that overlap by this much on each side agree
# where they are joined, to the rounding of float32
CONTEXT_FRAMES = 64
_ITERATIONS = 32
_MOMENTUM = 0.99


class GriffinLim:
    """Holds the inverse of the mel filters, and no state between calls, so threads may share it.

    The phases start at zero: the same mel always gives the same waveform.
    """

    def __init__(self, front_end: MelFrontEnd) -> None:
        self._parameters = front_end.parameters
        self._inverse = torch.linalg.pinv(front_end.filters.double()).float()  # [n_mels, n_fft // 2 + 1]
        self._window = torch.hann_window(self._parameters.win_length)

    def waveform(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """mel [T, n_mels] in dB -> waveform [T * hop_length]."""
        parameters = self._parameters
        # the last hop of the signal lies behind the last frame's centre, so one more frame carries it; and a transform
        # needs at least the frames of one window
        margin = max(1, parameters.n_fft // parameters.hop_length + 2 - len(mel))
        with torch.inference_mode():
            level = torch.nn.functional.pad(torch.tensor(mel).T, (0, margin), value=parameters.db_min).T
            power = torch.where(level > parameters.db_min, 10 ** ((level + parameters.db_reference) / 10), 0)
            magnitude = (power @ self._inverse).clamp(min=0).sqrt().T  # [n_fft // 2 + 1, T + margin]
            waveform: torch.Tensor = torchaudio.functional.griffinlim(
                magnitude,
                self._window,
                parameters.n_fft,
                parameters.hop_length,
                parameters.win_length,
                power=1.0,
                n_iter=_ITERATIONS,
                momentum=_MOMENTUM,
                length=(len(mel) + margin - 1) * parameters.hop_length,
                rand_init=False,
            )
        return waveform[: len(mel) * parameters.hop_length].numpy()
