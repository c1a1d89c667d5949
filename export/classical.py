"""Speech codecs that Debian packages, to compare with: codec2 and opus through their command-line tools."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import soxr

from export.metrics import SAMPLE_RATE, Waveform, align

CODEC2_RATE = 8_000
FULL_SCALE = 32767


def available() -> dict[str, tuple[int, Callable[[Waveform], Waveform]]]:
    """The codecs that are installed: name -> bits per second, and a function that encodes and decodes."""
    codecs: dict[str, tuple[int, Callable[[Waveform], Waveform]]] = {}
    if shutil.which("c2enc") and shutil.which("c2dec"):
        codecs["codec2 700C"] = 700, lambda waveform: codec2(waveform, "700C")
        codecs["codec2 1300"] = 1300, lambda waveform: codec2(waveform, "1300")
    if shutil.which("opusenc") and shutil.which("opusdec"):
        codecs["opus"] = 6000, opus
    return codecs


def codec2(waveform: Waveform, mode: str) -> Waveform:
    """Through codec2, which works at 8 kHz; the delay is taken out."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        pcm = soxr.resample(waveform, SAMPLE_RATE, CODEC2_RATE) * FULL_SCALE
        (folder / "in.raw").write_bytes(pcm.clip(-FULL_SCALE, FULL_SCALE).astype("<i2").tobytes())
        run("c2enc", mode, folder / "in.raw", folder / "coded")
        run("c2dec", mode, folder / "coded", folder / "out.raw")
        decoded = np.frombuffer((folder / "out.raw").read_bytes(), "<i2").astype(np.float32) / FULL_SCALE
    return align(waveform, soxr.resample(decoded, CODEC2_RATE, SAMPLE_RATE))


def opus(waveform: Waveform) -> Waveform:
    """Through opus at 6 kbit/s, the least that its encoder offers: constant rate, frames of 60 ms."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        soundfile.write(folder / "in.wav", waveform, SAMPLE_RATE, subtype="PCM_16")
        options = ("--quiet", "--speech", "--bitrate", "6", "--hard-cbr", "--framesize", "60")
        run("opusenc", *options, folder / "in.wav", folder / "coded.opus")
        run("opusdec", "--quiet", "--rate", str(SAMPLE_RATE), folder / "coded.opus", folder / "out.wav")
        decoded, _ = soundfile.read(folder / "out.wav", dtype="float32")
    return align(waveform, decoded)


def run(*command: str | Path) -> None:
    """Run a codec's tool; raises CalledProcessError when it fails."""
    subprocess.run(command, check=True, capture_output=True)
