"""Encoding: what was written is what decoders read, sample for sample, block by block."""

import io
import wave

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from service.media.audio import open_audio
from service.media.encode import AudioWriter, Format, media_type
from tests.sounds import clip


def written(
    samples: NDArray[np.float32], audio_format: Format, sample_rate: int = 16_000, block_size: int = 3_000
) -> bytes:
    """samples [C, n] -> the file."""
    file = io.BytesIO()
    with AudioWriter(file, audio_format, sample_rate, len(samples)) as writer:
        for first in range(0, samples.shape[1], block_size):
            writer.write(samples[:, first : first + block_size])
    return file.getvalue()


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_16_bit_formats_round_to_the_nearest_step(audio_format: Format, channels: int) -> None:
    speech = np.stack([clip() * (1 + channel / 7) for channel in range(channels)])
    samples, rate = soundfile.read(io.BytesIO(written(speech, audio_format)), dtype="float32", always_2d=True)
    assert rate == 16_000
    np.testing.assert_allclose(samples.T, speech.clip(-1, 32767 / 32768), atol=0.5 / 32768 + 1e-7)


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_float_wav_keeps_every_bit_and_overshoot(channels: int) -> None:
    speech = np.stack([clip() * 3**channel for channel in range(channels)])
    samples, _ = soundfile.read(io.BytesIO(written(speech, "wav-float")), dtype="float32", always_2d=True)
    np.testing.assert_array_equal(samples.T, speech)


def test_16_bit_formats_clip_instead_of_wrapping() -> None:
    loud = np.array([[1.0, 1.5, -1.0, -1.5]], np.float32)
    samples, _ = soundfile.read(io.BytesIO(written(loud, "wav")), dtype="int16")
    assert samples.tolist() == [32767, 32767, -32768, -32768]


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_ogg_is_opus_of_exactly_the_same_length(channels: int) -> None:
    speech = np.stack([clip()] * channels)
    data = written(speech, "ogg")
    assert b"OpusHead" in data[:64]
    with open_audio(io.BytesIO(data), media_type("ogg"), max_audio_s=10) as stream:
        samples = np.concatenate(list(stream.blocks()), axis=1)
    assert (stream.sample_rate, stream.channels) == (48_000, channels)
    assert samples.shape[1] == 3 * speech.shape[1]
    for row in samples:
        assert np.corrcoef(row[::3], speech[0])[0, 1] > 0.95


def test_the_size_of_the_blocks_does_not_change_the_file() -> None:
    speech = clip()[None]
    for audio_format in ("wav", "wav-float", "flac", "ogg"):
        assert written(speech, audio_format, block_size=777) == written(speech, audio_format, block_size=10**6)


def test_a_wav_has_the_plain_header_that_every_reader_knows() -> None:
    data = written(clip()[None], "wav")
    assert len(data) == 44 + 2 * len(clip())
    with wave.open(io.BytesIO(data)) as file:
        assert file.getparams()[:4] == (1, 2, 16_000, len(clip()))


@pytest.mark.parametrize("audio_format", ["wav", "wav-float", "flac", "ogg"])
def test_one_sample_makes_a_file_of_one_sample(audio_format: Format) -> None:
    data = written(np.full((1, 1), 0.25, np.float32), audio_format)
    with open_audio(io.BytesIO(data), media_type(audio_format), max_audio_s=1) as stream:
        samples = np.concatenate(list(stream.blocks()), axis=1)
    assert samples.shape[1] * 16_000 == stream.sample_rate
