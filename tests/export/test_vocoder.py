"""The vocoder: its inverse STFT, its length, how far it sees, and that its losses tell better from worse."""

import pytest
import torch

from export.layers.istft import InverseStft
from export.vocoder.discriminator import WaveformDiscriminator
from export.vocoder.loss import discriminator_loss, feature_matching_loss, generator_loss, stft_loss
from export.vocoder.model import PRESETS, Vocoder, VocoderConfig

TINY = VocoderConfig(n_mels=16, width=16, layers=3, n_fft=64, hop_length=16)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(640, 160), (1024, 160), (1024, 256), (64, 16)])
@pytest.mark.parametrize("frames", [1, 2, 57])
def test_inverse_stft_equals_torch(n_fft: int, hop_length: int, frames: int) -> None:
    torch.manual_seed(0)
    real, imaginary = torch.randn(2, 2, n_fft // 2 + 1, frames)
    imaginary[:, [0, -1]] = 0  # the spectrum of a real signal
    window = torch.hann_window(n_fft)
    length = (frames - 1) * hop_length + 1  # beyond, torch pads where too few frames overlap
    expected = torch.istft(torch.complex(real, imaginary), n_fft, hop_length, window=window, length=length)
    actual = InverseStft(n_fft, hop_length)(real, imaginary)
    assert actual.shape == (2, frames * hop_length)
    torch.testing.assert_close(actual[:, :length], expected, atol=2e-6, rtol=1e-5)


@torch.no_grad()
def test_a_frame_makes_one_hop_and_sees_no_further_than_its_context() -> None:
    torch.manual_seed(0)
    model = Vocoder(TINY).eval()
    mel = torch.rand(1, 80, 16) * 2 - 1
    changed = mel.clone()
    changed[:, 40] = 0.9
    a, b = model(mel)[0], model(changed)[0]
    assert a.shape == (80 * 16,)
    different = (a != b).nonzero() // 16
    context = TINY.context_frames
    assert different.min() >= 40 - context
    assert different.max() <= 40 + context
    assert different.max() - different.min() > TINY.layers  # and it does see its neighbours


@torch.no_grad()
def test_silence_beyond_the_end_changes_nothing() -> None:
    torch.manual_seed(0)
    model = Vocoder(TINY).eval()
    mel = torch.rand(1, 30, 16) * 2 - 1
    padded = torch.cat([mel, torch.full((1, 34, 16), -1.0)], dim=1)
    start = (30 - TINY.context_frames) * 16
    torch.testing.assert_close(model(padded)[:, :start], model(mel)[:, :start], atol=1e-6, rtol=1e-5)


def test_the_reference_is_small() -> None:
    assert sum(p.numel() for p in Vocoder(PRESETS["small"]).parameters()) < 4_000_000


def test_losses_fall_as_the_estimate_comes_closer() -> None:
    torch.manual_seed(0)
    target = torch.randn(2, 4000) * 0.1
    noise = torch.randn(2, 4000) * 0.1
    losses = [stft_loss(target + scale * noise, target, 256).item() for scale in (1.0, 0.3, 0.0)]
    assert losses[0] > losses[1] > losses[2] == 0

    discriminator = WaveformDiscriminator((64,), (2, 3), 4, 2)
    for turn in range(2):
        real, near, far = (discriminator(x, turn) for x in (target, target + 0.01 * noise, noise))
        assert 0 < feature_matching_loss(real, near) < feature_matching_loss(real, far)
        assert generator_loss(near) >= 0


def test_the_discriminators_learn_to_tell_noise_from_tones() -> None:
    torch.manual_seed(0)
    discriminator = WaveformDiscriminator((64,), (2,), 4, 2)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-2)
    tones = torch.sin(torch.arange(2000) * torch.rand(8, 1)) * 0.5
    for _ in range(60):
        loss = discriminator_loss(discriminator(torch.cat([tones, torch.randn(8, 2000) * 0.3]), 0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.0  # 2 is indifference
