"""Log-mel as CLAP hears it, against the extractor of transformers."""

from dataclasses import replace

import numpy as np
import pytest
from transformers import ClapFeatureExtractor

from service.dsp.log_mel import LogMelExtractor, LogMelParameters, Padding
from tests import sounds

CLAP = LogMelParameters(
    sample_rate=48_000,
    window_samples=480_000,
    n_fft=1024,
    hop_length=480,
    n_mels=64,
    f_min=50.0,
    f_max=14_000.0,
    mel_scale="slaney",
    mel_norm="slaney",
    padding="repeatpad",
)


def reference(samples: np.ndarray, parameters: LogMelParameters) -> np.ndarray:
    extractor = ClapFeatureExtractor(
        feature_size=parameters.n_mels,
        sampling_rate=parameters.sample_rate,
        hop_length=parameters.hop_length,
        max_length_s=parameters.window_samples // parameters.sample_rate,
        fft_window_size=parameters.n_fft,
        frequency_min=parameters.f_min,
        frequency_max=parameters.f_max,
        truncation="rand_trunc" if parameters.mel_norm else "fusion",
        padding=parameters.padding,
    )
    features = extractor(samples, sampling_rate=parameters.sample_rate, return_tensors="np")["input_features"]
    return features[0, 0]


@pytest.mark.parametrize("padding", ["repeatpad", "repeat", "pad"])
@pytest.mark.parametrize("num_samples", [1, 47_999, 240_000, 480_000])
def test_it_is_what_transformers_computes(num_samples: int, padding: Padding) -> None:
    samples = np.resize(sounds.clip(), num_samples)
    parameters = replace(CLAP, padding=padding)
    mel = LogMelExtractor(parameters)(samples)
    assert mel.shape == (1001, 64)
    assert mel.dtype == np.float32
    np.testing.assert_allclose(mel, reference(samples, parameters), atol=1e-3, rtol=0)  # dB, of a range of 120


def test_the_filters_of_a_fused_checkpoint() -> None:
    samples = np.resize(sounds.clip(), 480_000)
    parameters = replace(CLAP, mel_scale="htk", mel_norm=None)
    np.testing.assert_allclose(LogMelExtractor(parameters)(samples), reference(samples, parameters), atol=1e-3, rtol=0)


def test_silence_is_the_floor() -> None:
    mel = LogMelExtractor(CLAP)(np.zeros(48_000, np.float32))
    np.testing.assert_allclose(mel, -100)


def test_parameters_come_from_the_configuration() -> None:
    parameters = {
        "sample_rate": "48000",
        "window_samples": "480000",
        "n_fft": "1024",
        "hop_length": "480",
        "n_mels": "64",
        "f_min": "50",
        "f_max": "14000",
        "mel_scale": "slaney",
        "mel_norm": "slaney",
        "padding": "repeatpad",
    }
    assert LogMelParameters.from_config(parameters) == CLAP
    assert LogMelParameters.from_config(parameters | {"mel_norm": "none"}).mel_norm is None
    with pytest.raises(ValueError, match="mel_norm"):
        LogMelParameters.from_config(parameters | {"mel_norm": "area"})
    with pytest.raises(KeyError, match="padding"):
        LogMelParameters.from_config({name: value for name, value in parameters.items() if name != "padding"})
