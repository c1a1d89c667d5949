"""How close decoded sound is to the original. Waveforms are [n] float32 at 16 kHz."""

import re
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from pesq import BufferTooShortError, NoUtterancesError, pesq
from pystoi import stoi as pystoi

Waveform = NDArray[np.float32]

SAMPLE_RATE = 16_000
RESOLUTIONS = (512, 1024, 2048)
MAX_LAG_S = 0.2
"""Classical codecs delay their output, opus and codec2 by less than this."""


def stoi(reference: Waveform, degraded: Waveform, extended: bool = False) -> float:
    """Short-time objective intelligibility (Taal 2011), or extended (Jensen 2016); NaN below 0.4 s of speech."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames", RuntimeWarning)
        try:
            return float(pystoi(reference, degraded, SAMPLE_RATE, extended=extended))
        except RuntimeWarning:
            return float("nan")


def pesq_score(reference: Waveform, degraded: Waveform, wideband: bool = True) -> float:
    """ITU-T P.862.2 (wideband) or P.862 (narrow-band) in MOS-LQO; NaN where there is no utterance to compare."""
    if not degraded.any():
        return float("nan")
    try:
        return float(pesq(SAMPLE_RATE, reference, degraded, "wb" if wideband else "nb"))
    except (NoUtterancesError, BufferTooShortError):
        return float("nan")


def multi_resolution_stft(reference: Waveform, degraded: Waveform) -> float:
    """Spectral convergence plus L1 of log magnitudes, mean over FFTs of 512, 1024 and 2048 (Yamamoto 2020)."""
    distances = []
    for size in RESOLUTIONS:
        a, b = (magnitudes(x, size) for x in (reference, degraded))
        convergence = torch.linalg.norm(a - b) / torch.linalg.norm(a)
        distances.append(convergence + (a.log() - b.log()).abs().mean())
    return float(torch.stack(distances).mean())


def magnitudes(waveform: Waveform, size: int) -> torch.Tensor:
    """The STFT's magnitudes with a hop of size / 4, at least 1e-3: what is quieter cannot be heard."""
    spectrum = torch.stft(
        torch.from_numpy(waveform), size, size // 4, window=torch.hann_window(size), return_complex=True
    )
    return spectrum.abs().clamp(min=1e-3)


def align(reference: Waveform, degraded: Waveform) -> Waveform:
    """Shift ``degraded`` by the lag of the best correlation and give it the reference's length."""
    size = len(reference) + len(degraded)
    correlation = np.fft.irfft(np.fft.rfft(degraded, size) * np.fft.rfft(reference, size).conj(), size)
    reach = int(MAX_LAG_S * SAMPLE_RATE)
    lags = np.arange(-reach, reach + 1)
    lag = int(lags[correlation[lags % size].argmax()])
    shifted = degraded[lag:] if lag > 0 else np.pad(degraded, (-lag, 0))
    return np.pad(shifted, (0, max(0, len(reference) - len(shifted))))[: len(reference)]


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Substituted, deleted and inserted words over all words of the references; case and punctuation are ignored."""
    pairs = [(words(a), words(b)) for a, b in zip(references, hypotheses, strict=True)]
    return sum(edits(a, b) for a, b in pairs) / sum(len(a) for a, _ in pairs)


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return re.findall(r"[\w']+", text.lower())


def edits(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (x != y))
    return row[-1]
