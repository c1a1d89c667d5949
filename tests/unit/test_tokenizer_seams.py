"""Bridges across the borders of windows: every frame comes once, and only the frames at a border change."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from service.models.tokenizer.postprocess import TokenWindow, token_windows
from service.models.tokenizer.seams import FADE_FRAMES, Bridge, MelJoin, with_bridges
from service.models.tokenizer.tokens import Tokens
from tests.unit.test_tokenizer_postprocess import random_tokens
from tests.unit.test_tokenizer_preprocess import LAYOUT


def painted(window: TokenWindow) -> NDArray[np.float32]:
    """A decoder that paints each token's value over its patch: the same in a window and in a bridge."""
    channels = len(window.tokens)
    grid = window.tokens.reshape(channels, -1, LAYOUT.bands).astype(np.float32)
    mel = grid.repeat(LAYOUT.time_patch, axis=1).repeat(32, axis=2)
    return window.mel(mel)


def joined(tokens: Tokens, raised: float = 0.0) -> NDArray[np.float32]:
    """The mel of all windows; bridges are decoded `raised` higher."""
    join, pieces = MelJoin(tokens.layout.window_frames), []
    for window in with_bridges(tokens):
        lift = raised if isinstance(window, Bridge) else 0.0
        pieces += join.push(window, painted(window) + np.float32(lift))
    return np.concatenate([*pieces, *join.finish()], axis=1)


@pytest.mark.parametrize("num_samples", [1, 1_281, 163_840, 163_841, 160 * 1030, 1_000_000])
@pytest.mark.parametrize("window_frames", [8, 24, 256, 1024])
def test_every_frame_comes_once_and_in_order(num_samples: int, window_frames: int) -> None:
    tokens = random_tokens(num_samples, channels=2, window_frames=window_frames)
    alone = np.concatenate([painted(window) for window in token_windows(tokens)], axis=1)
    np.testing.assert_allclose(joined(tokens), alone, rtol=1e-6)


@pytest.mark.parametrize("num_samples", [160 * 1030, 160 * 2048, 1_000_000])
def test_the_mel_fades_into_the_bridge_at_each_border_and_nowhere_else(num_samples: int) -> None:
    tokens = random_tokens(num_samples)
    plain = joined(tokens)
    share = (joined(tokens, raised=1e6) - plain)[0, :, 0] / 1e6
    expected = np.zeros(plain.shape[1])
    for border in range(1024, plain.shape[1], 1024):
        distance = np.abs(np.arange(plain.shape[1]) + 0.5 - border)
        expected = np.maximum(expected, 1 - distance / FADE_FRAMES)
    np.testing.assert_allclose(share, expected, atol=0.05)
    assert share.max() > 0.9


def test_a_step_at_a_border_becomes_a_slope() -> None:
    """Windows that a decoder puts at different levels, and a bridge that passes through the middle."""
    tokens = random_tokens(160 * 1024 * 3)
    join, pieces, level = MelJoin(1024), [], 0.0
    for window in with_bridges(tokens):
        mel = np.full((1, window.num_frames, 128), level)
        if isinstance(window, Bridge):
            mel = np.linspace(level, level - 10, window.num_frames, dtype=np.float32)[None, :, None] + np.zeros(128)
            level -= 10
        pieces += join.push(window, mel.astype(np.float32))
    result = np.concatenate([*pieces, *join.finish()], axis=1)[0, :, 0]
    steps = [abs(float(b - a)) for a, b in pairwise(result)]
    assert max(steps) < 1.0  # 10 without the bridge
