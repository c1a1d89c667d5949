"""The inverse short-time Fourier transform as one transposed convolution, so that it exports to ONNX.

ONNX has no ISTFT operator. Equal to `torch.istft(center=True, length=T * hop)` with a periodic Hann window.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InverseStft(nn.Module):
    """Real and imaginary parts [B, n_fft/2+1, T] -> waveform [B, T * hop]; frame t is centred at sample t * hop."""

    synthesis: Tensor
    envelope: Tensor

    def __init__(self, n_fft: int, hop_length: int) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        window = torch.hann_window(n_fft, dtype=torch.float64)
        time = torch.arange(n_fft, dtype=torch.float64)
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)[:, None]
        # Bins strictly between 0 and Nyquist stand for their negative frequencies too.
        weight = torch.where((bins == 0) | (bins == n_fft // 2), 1.0, 2.0) * window / n_fft
        angle = 2 * math.pi * bins * time / n_fft
        kernel = torch.cat([weight * angle.cos(), -weight * angle.sin()])[:, None]
        self.register_buffer("synthesis", kernel.float(), persistent=False)  # [n_fft + 2, 1, n_fft]
        self.register_buffer("envelope", window.square().float()[None, None], persistent=False)

    def forward(self, real: Tensor, imaginary: Tensor) -> Tensor:
        frames = torch.cat([real, imaginary], dim=1)
        overlap = F.conv_transpose1d(frames, self.synthesis, stride=self.hop_length)
        envelope = F.conv_transpose1d(torch.ones_like(frames[:1, :1]), self.envelope, stride=self.hop_length)
        start, length = self.n_fft // 2, frames.shape[-1] * self.hop_length
        return overlap[:, 0, start : start + length] / envelope[:, 0, start : start + length].clamp(min=1e-11)
