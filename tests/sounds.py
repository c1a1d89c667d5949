"""The recordings of tests/data, and files of any format made from them."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import soundfile
from numpy.typing import NDArray

DATA = Path(__file__).parent / "data"
CLIPS = ("vm-deleted", "something-terribly-wrong")
SAMPLE_RATE = 16_000

# what clients send: (container, codec, sample rate) as FFmpeg names them
FORMATS = {
    "wav": ("wav", "pcm_s16le", 16_000),
    "wav-24": ("wav", "pcm_s24le", 48_000),
    "wav-float": ("wav", "pcm_f32le", 44_100),
    "wav-8": ("wav", "pcm_u8", 8_000),
    "flac": ("flac", "flac", 44_100),
    "ogg-opus": ("ogg", "libopus", 48_000),
    "mp3": ("mp3", "libmp3lame", 22_050),
    "m4a": ("ipod", "aac", 44_100),
    "alac": ("ipod", "alac", 16_000),
    "aac": ("adts", "aac", 16_000),
    "webm": ("webm", "libopus", 48_000),
    "aiff": ("aiff", "pcm_s16be", 16_000),
}
LOSSLESS = ("wav", "wav-24", "wav-float", "flac", "alac", "aiff")


def clip(name: str = "something-terribly-wrong") -> NDArray[np.float32]:
    """Samples [n] at 16 kHz, read by another library than the one under test."""
    samples, _ = soundfile.read(DATA / f"{name}.flac", dtype="float32")
    return samples


def encoded(
    samples: NDArray[np.float32],
    audio_format: str,
    *,
    layout: str = "mono",
    muxer_options: dict[str, str] | None = None,
) -> bytes:
    """samples [n] or [C, n] at 16 kHz -> a file of that format, at the format's own rate."""
    container, codec, rate = FORMATS[audio_format]
    return encode(samples, container, codec, rate, layout=layout, muxer_options=muxer_options)


def encode(
    samples: NDArray[np.float32],
    container: str,
    codec: str,
    rate: int,
    *,
    layout: str = "mono",
    source_rate: int = SAMPLE_RATE,
    muxer_options: dict[str, str] | None = None,
) -> bytes:
    samples = np.atleast_2d(samples)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container, container_options=muxer_options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = source_rate, 0, Fraction(1, source_rate)
        sample_format = stream.codec_context.format.name
        resampler = av.AudioResampler(format=sample_format, layout=layout, rate=rate)
        for resampled in [*resampler.resample(frame), *resampler.resample(None)]:
            output.mux(stream.encode(resampled))
        output.mux(stream.encode(None))
    return buffer.getvalue()
