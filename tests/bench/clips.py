"""The clip that benchmarks send: ten seconds of recorded speech, as a WAV file and as what the encoder gets of it."""

import io
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from service.dsp.mel import MelFrontEnd, MelParameters
from service.repository import ModelConfig
from service.tensors import Tensors

DURATION_S = 10
SAMPLE_RATE = 16_000
DATA = Path(__file__).parents[1] / "data"


def samples() -> NDArray[np.float32]:
    """The 16 kHz recordings of the test data, one after the other, as often as it takes."""
    speech = np.concatenate([soundfile.read(path, dtype="float32")[0] for path in sorted(DATA.glob("*.flac"))])
    return np.resize(speech, DURATION_S * SAMPLE_RATE)


def wav() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples(), SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def encoder_input(config: ModelConfig, batch: int) -> Tensors:
    """The clip's mel as the gateway sends it: a window of whole buckets, padded with the floor."""
    mel = MelFrontEnd(MelParameters.from_config(config.parameters)).mel_db(samples())
    padding = -len(mel) % 128
    window = np.pad(mel, ((0, padding), (0, 0)), constant_values=float(config.parameters["db_min"]))
    return {
        "mel": np.repeat(window[None], batch, axis=0),
        "num_frames": np.full((batch, 1), len(mel), np.int32),
    }
