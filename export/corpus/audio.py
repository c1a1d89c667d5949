"""Any recording to 16 kHz mono, and to FLAC."""

from pathlib import Path, PurePath
from typing import BinaryIO

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
RAW_DEMUXERS = {".g722": "g722", ".gsm": "gsm"}
"""Telephone formats have no header, so nothing but the file's name tells what they are."""


def decode(file: BinaryIO, name: str, max_seconds: float | None = None) -> NDArray[np.float32]:
    """Decode the first ``max_seconds`` of a file to 16 kHz mono.

    Returns:
        Samples ``[n]`` in [-1, 1].

    Raises:
        ValueError: the file has no sound, or PyAV cannot read it.
    """
    blocks: list[NDArray[np.float32]] = []
    demuxer = RAW_DEMUXERS.get(PurePath(name).suffix)
    with av.open(file, "r", format=demuxer, metadata_errors="replace") as container:
        if not container.streams.audio:
            raise ValueError(f"{name} has no audio stream")
        rate = container.streams.audio[0].codec_context.sample_rate
        limit = rate * max_seconds if max_seconds is not None else float("inf")
        planar = av.AudioResampler(format="fltp")
        taken = 0
        for frame in container.decode(audio=0):
            blocks += [part.to_ndarray().mean(axis=0) for part in planar.resample(frame)]
            taken += frame.samples
            if taken >= limit:
                break
    if not taken:
        raise ValueError(f"{name} has no samples")
    samples = np.concatenate(blocks)[: int(min(taken, limit))]
    resampled: NDArray[np.float32] = soxr.resample(samples, rate, SAMPLE_RATE, quality="HQ")
    return resampled.clip(-1.0, 1.0)


def write_flac(path: Path, samples: NDArray[np.float32]) -> None:
    """Write 16-bit FLAC; the file appears when it is whole, so a half-filled corpus can be used."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    soundfile.write(part, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    part.replace(path)


def duration_s(path: Path) -> float:
    """Seconds of a FLAC file, from its header."""
    return float(soundfile.info(path).duration)
