"""Tokens to decoder inputs, mel to vocoder chunks: joined again they are what one run over everything gives."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from service.models.tokenizer.layout import bucket
from service.models.tokenizer.postprocess import MelChunks, token_windows, window_tokens
from service.models.tokenizer.tokens import Tokens
from tests.unit.test_tokenizer_preprocess import LAYOUT

CONTEXT_FRAMES = 32


def random_tokens(num_samples: int, channels: int = 1, window_frames: int = 1024) -> Tokens:
    codes = np.random.default_rng(3).integers(0, 1 << 18, (channels, LAYOUT.num_tokens(num_samples)))
    return Tokens(LAYOUT.with_windows(window_frames), "tokenizer", "5eed" * 16, num_samples, codes)


@pytest.mark.parametrize("num_samples", [1, 1_280, 1_281, 163_840, 163_841, 1_000_000])
@pytest.mark.parametrize("window_frames", [256, 1024])
def test_windows_of_tokens_are_those_that_the_encoder_saw(num_samples: int, window_frames: int) -> None:
    tokens = random_tokens(num_samples, channels=2, window_frames=window_frames)
    windows = list(token_windows(tokens))
    assert [window.num_frames for window in windows] == list(tokens.layout.windows(num_samples))
    joined = [window_tokens(window.tokens, window.num_frames, tokens.layout) for window in windows]
    np.testing.assert_array_equal(np.concatenate(joined, axis=1), tokens.tokens)


def test_windows_of_tokens_are_padded_to_their_bucket_with_zeros() -> None:
    tokens = random_tokens(160 * 1025, channels=2)
    whole, last = token_windows(tokens)
    assert whole.tokens.shape == (2, 512)
    assert last.tokens.shape == (2, 64)
    assert not last.tokens[:, 4:].any()
    inputs = last.inputs()
    assert inputs["tokens"].dtype == np.int64
    assert (inputs["num_frames"].tolist(), inputs["num_frames"].dtype) == ([[1], [1]], np.int32)
    assert last.mel(np.zeros((2, 128, 128), np.float32)).shape == (2, 1, 128)


class Vocoder:
    """A real convolutional vocoder of small size, whose frames see CONTEXT_FRAMES to each side."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self._layers = torch.nn.Sequential(
            torch.nn.Conv1d(128, 16, 33, padding=16),
            torch.nn.GELU(),
            torch.nn.Conv1d(16, 160, 33, padding=16),
        )

    def __call__(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """mel [C, T, 128] -> waveform [C, T * 160]."""
        with torch.inference_mode():
            return self._layers(torch.from_numpy(mel).mT).mT.flatten(1).numpy()


def chunked(mel: NDArray[np.float32], num_samples: int, piece: int) -> tuple[NDArray[np.float32], list[int]]:
    """The waveform made in chunks, and their sizes."""
    chunks = MelChunks(num_samples, 160, db_min=-80, context_frames=CONTEXT_FRAMES, chunk_frames=1024)
    vocoder, parts, sizes = Vocoder(), [], []
    for first in range(0, mel.shape[1], piece):
        for chunk in chunks.push(mel[:, first : first + piece]):
            parts.append(chunk.waveform(vocoder(chunk.inputs()["mel"])))
            sizes.append(chunk.mel.shape[1])
    return np.concatenate(parts, axis=1), sizes


@pytest.mark.parametrize(
    "num_samples", [1, 5_000, 163_839, 163_840, 163_841, 160 * 1_984, 160 * 1_984 + 1, 160 * 1_985, 480_077]
)
@pytest.mark.parametrize("piece", [100, 1024])
def test_chunks_join_to_the_waveform_of_the_whole_mel(num_samples: int, piece: int) -> None:
    num_frames = -(-num_samples // 160)
    mel = np.random.default_rng(1).uniform(-80, 0, (2, num_frames, 128)).astype(np.float32)
    waveform, sizes = chunked(mel, num_samples, piece)
    padded = np.pad(mel, ((0, 0), (0, bucket(num_frames) - num_frames), (0, 0)), constant_values=-80)
    np.testing.assert_allclose(waveform, Vocoder()(padded)[:, :num_samples], atol=2e-4)
    assert set(sizes) == {1024} or sizes == [bucket(num_frames)]


def test_less_context_than_the_vocoder_sees_would_show() -> None:
    """The comparison above can fail: without context the seams differ."""
    mel = np.random.default_rng(1).uniform(-80, 0, (1, 2_048, 128)).astype(np.float32)
    chunks = MelChunks(2_048 * 160, 160, db_min=-80, context_frames=0, chunk_frames=1024)
    vocoder = Vocoder()
    waveform = np.concatenate([chunk.waveform(vocoder(chunk.mel)) for chunk in chunks.push(mel)], axis=1)
    assert np.abs(waveform - vocoder(mel)).max() > 0.1


def test_chunks_are_ready_before_the_signal_ends() -> None:
    chunks = MelChunks(160 * 100_000, 160, db_min=-80, context_frames=32, chunk_frames=1024)
    ready = [len(chunks.push(np.zeros((1, 1024, 128), np.float32))) for _ in range(50)]
    assert ready[0] == 1
    assert sum(ready) > 50


def test_more_mel_than_there_are_samples_is_a_fault() -> None:
    with pytest.raises(ValueError, match="2 frames of mel for 160 samples"):
        MelChunks(160, 160, db_min=-80, context_frames=32, chunk_frames=1024).push(np.zeros((1, 2, 128), np.float32))
    with pytest.raises(ValueError, match="no room"):
        MelChunks(160, 160, db_min=-80, context_frames=512, chunk_frames=1024)
