"""What a room model hears: the gateway and the model side compute the same, however long the sound and its windows."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio
from numpy.typing import NDArray
from safetensors.torch import save_file
from torchaudio.models import wav2vec2_model

from export.errors import ExportError
from export.vggt_audio.audio_features import AudioFeatureExtractor as ModelSide
from service.dsp.audio_features import AudioFeatureExtractor, FeatureParameters
from service.dsp.sync import FrameClock
from tests import kemar

RATE = 48_000
CONFIG = {
    "sample_rate": "48000",
    "n_fft": "2048",
    "hop_length": "512",
    "n_mels": "128",
    "audio_feature": "log_mel",
    "audio_feature_dim": "256",
    "audio_window_s": "1.0",
    "image_size": "224",
}
MEL = FeatureParameters.from_config(CONFIG)
MFCC = FeatureParameters.from_config(CONFIG | {"audio_feature": "mfcc", "audio_feature_dim": "80"})
SIDES = [(MEL, "mel_spectrogram"), (MFCC, "mfcc")]
TINY_WAV2VEC2 = {
    "extractor_mode": "group_norm",
    "extractor_conv_layer_config": [(16, 10, 5), (16, 8, 8), (16, 8, 8)],
    "extractor_conv_bias": False,
    "encoder_embed_dim": 24,
    "encoder_projection_dropout": 0.0,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_attention_dropout": 0.0,
    "encoder_ff_interm_features": 32,
    "encoder_ff_interm_dropout": 0.0,
    "encoder_dropout": 0.0,
    "encoder_layer_norm_first": False,
    "encoder_layer_drop": 0.0,
    "aux_num_out": None,
}


def sound(seconds: float, channels: int = 1) -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal((channels, round(seconds * RATE)))
    return (0.1 * noise * np.linspace(0.01, 1, noise.shape[1])).astype(np.float32)


def both(
    parameters: FeatureParameters, feature_type: str, samples: NDArray[np.float32], times: list[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
    features, valid = AudioFeatureExtractor(parameters).extract(samples, FrameClock.at(times, RATE))
    model_side = ModelSide(feature_type)
    expected = model_side.extract_features(torch.from_numpy(samples), times)
    return features, expected.numpy(), valid, model_side.heard(samples.shape[1], times).numpy()


@pytest.mark.parametrize(("parameters", "feature_type"), SIDES)
@pytest.mark.parametrize("seconds", [0.0001, 0.02, 0.5, 3.21])
@pytest.mark.parametrize("channels", [1, 2])
def test_gateway_and_model_side_agree(
    parameters: FeatureParameters, feature_type: str, seconds: float, channels: int
) -> None:
    times = [-1.0, -0.4, 0.0, 1001 / 30000, 0.5, 1.2345, 2.9, 3.5, 3.75, 100.0]
    features, expected, valid, heard = both(parameters, feature_type, sound(seconds, channels), times)
    assert features.shape == (10, 2 * parameters.bins)
    np.testing.assert_allclose(features, expected, atol=1e-4)
    np.testing.assert_array_equal(valid, heard)
    assert valid.any()
    assert not valid[[0, -1]].any()
    assert not features[~valid].any()


def test_real_speech_agrees_at_every_frame_of_a_video() -> None:
    speech = np.stack([kemar.speech(), kemar.speech()[::-1]])
    clock = FrameClock.constant(Fraction(30000, 1001), 75, RATE)
    features, valid = AudioFeatureExtractor(MEL).extract(speech, clock)
    expected = ModelSide().extract_features(torch.from_numpy(speech), clock.times_s.tolist())
    assert valid.all()
    np.testing.assert_allclose(features, expected.numpy(), atol=1e-4)


def test_without_timestamps_there_is_a_row_for_each_frame_that_begins_in_the_sound() -> None:
    waveform = torch.from_numpy(sound(0.5))
    features = ModelSide().extract_features(waveform, fps=25.0)
    assert features.shape == (13, 256)
    torch.testing.assert_close(features, ModelSide().extract_features(waveform, [k / 25 for k in range(13)]))


@pytest.mark.parametrize(("time_s", "window"), [(0.0, slice(0, 47)), (1.0, slice(47, 141)), (3.0, slice(235, 282))])
def test_the_columns_are_torchaudio_s_with_zeros_around_the_sound(time_s: float, window: slice) -> None:
    samples = sound(3)
    settings = {"n_fft": 2048, "hop_length": 512, "n_mels": 128, "pad_mode": "constant"}
    mel = torchaudio.transforms.MelSpectrogram(RATE, **settings)(torch.from_numpy(samples[0]))
    mfcc = torchaudio.transforms.MFCC(RATE, 40, melkwargs=settings)(torch.from_numpy(samples[0]))
    for parameters, columns in ((MEL, torch.log(mel + 1e-6)[:, window]), (MFCC, mfcc[:, window])):
        features, _ = AudioFeatureExtractor(parameters).extract(samples, FrameClock.at([time_s], RATE))
        expected = torch.cat([columns.mean(-1), columns.std(-1, correction=0)])
        np.testing.assert_allclose(features[0], expected.numpy(), atol=1e-4)


def test_features_do_not_depend_on_how_the_sound_arrives() -> None:
    samples = sound(2.5, channels=2)
    extractor = AudioFeatureExtractor(MEL)
    clock = FrameClock.constant(Fraction(30), 90, RATE, offset_s=Fraction(1, 4))
    whole, valid = extractor.extract(samples, clock)
    listening = extractor.listen(clock)
    for block in np.split(samples, [1, 1000, 1000, 50_000, 119_999], axis=1):
        listening.push(block)
    features, valid_in_pieces = listening.finish()
    np.testing.assert_allclose(features, whole, atol=1e-5)
    np.testing.assert_array_equal(valid_in_pieces, valid)


def test_a_start_offset_moves_the_sound_and_not_the_frames() -> None:
    samples = sound(3)
    extractor = AudioFeatureExtractor(MEL)
    later, _ = extractor.extract(samples, FrameClock.at([1.5, 2.0], RATE, offset_s=Fraction(1, 2)))
    plain, _ = extractor.extract(samples, FrameClock.at([1.0, 1.5], RATE))
    np.testing.assert_array_equal(later, plain)


def test_a_clock_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="44100 Hz"):
        AudioFeatureExtractor(MEL).listen(FrameClock.at([0], 44_100))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_fft": "many"}, "n_fft"),
        ({"audio_feature": "wav2vec2"}, "wav2vec2"),
        ({"audio_feature_dim": "128"}, "256 features, not 128"),
        ({"audio_feature": "mfcc"}, "80 features, not 256"),
    ],
)
def test_a_configuration_that_cannot_be_is_named(change: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FeatureParameters.from_config(CONFIG | change)
    with pytest.raises(ValueError, match="hop_length"):
        FeatureParameters.from_config({name: value for name, value in CONFIG.items() if name != "hop_length"})


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_wav2vec2_features_are_the_mean_of_its_last_layer(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    model = wav2vec2_model(**TINY_WAV2VEC2).eval()
    path = tmp_path / f"tiny.{suffix}"
    save = torch.save if suffix == "pth" else save_file
    save({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    extractor = ModelSide("wav2vec2", wav2vec2_weights=path, wav2vec2_config=TINY_WAV2VEC2)
    waveform = torch.from_numpy(sound(2))
    features = extractor.extract_features(waveform, [1.0, 50.0])
    assert extractor.output_dim == 24
    assert features.shape == (2, 24)
    assert not features[1].any()
    with torch.no_grad():
        layers, _ = model.extract_features(torchaudio.functional.resample(waveform, RATE, 16_000))
    torch.testing.assert_close(features[0], layers[-1][0, 25:76].mean(dim=0))


def test_missing_and_foreign_wav2vec2_weights_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"there are no weights of wav2vec 2\.0 at"):
        ModelSide("wav2vec2", wav2vec2_weights=tmp_path / "none.pth")
    foreign = tmp_path / "foreign.pth"
    torch.save({"weight": torch.zeros(1)}, foreign)
    with pytest.raises(ExportError, match=r"not the weights of this wav2vec 2\.0 model"):
        ModelSide("wav2vec2", wav2vec2_weights=foreign, wav2vec2_config=TINY_WAV2VEC2)
    foreign.write_bytes(b"hello")
    with pytest.raises(ExportError, match=r"not the weights of this wav2vec 2\.0 model"):
        ModelSide("wav2vec2", wav2vec2_weights=foreign, wav2vec2_config=TINY_WAV2VEC2)
