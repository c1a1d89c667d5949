"""The mel front end against reference numbers and torchaudio, in chunks, at its limits; and its inverse."""

from pathlib import Path

import numpy as np
import pystoi
import pytest
import torch
import torchaudio
from numpy.typing import NDArray

from service.dsp.griffin_lim import CONTEXT_FRAMES, GriffinLim
from service.dsp.mel import MelFrontEnd, MelParameters
from tests.sounds import clip

PARAMETERS = {
    "sample_rate": "16000",
    "n_fft": "1024",
    "win_length": "1024",
    "hop_length": "160",
    "n_mels": "128",
    "f_min": "0",
    "f_max": "8000",
    "mel_scale": "htk",
    "db_min": "-80",
    "db_max": "0",
    "db_reference": "48.1648",
    "bits": "18",
}
DB_REFERENCE = 48.1648


@pytest.fixture(scope="module")
def front_end() -> MelFrontEnd:
    return MelFrontEnd(MelParameters.from_config(PARAMETERS))


@pytest.fixture(scope="module")
def reference() -> dict[str, NDArray[np.float32]]:
    """A second of sound with its filters, mel power and level, computed in float64; its ends were reflected."""
    with np.load(Path(__file__).parent / "data" / "mel_reference.npz") as file:
        return dict(file)


def test_filters_are_those_of_the_reference(front_end: MelFrontEnd, reference: dict[str, NDArray[np.float32]]) -> None:
    np.testing.assert_allclose(front_end.filters.numpy(), reference["filters"].T, atol=2e-5)


def test_levels_are_those_of_the_reference(front_end: MelFrontEnd, reference: dict[str, NDArray[np.float32]]) -> None:
    reflected = np.pad(reference["waveform"], 512, mode="reflect")
    mel = front_end.frames(np.pad(reflected, (0, 160)), 101)
    expected = np.clip(reference["db"] - DB_REFERENCE, -80, 0)
    np.testing.assert_allclose(mel, expected, atol=2e-3)
    np.testing.assert_allclose(10 ** ((mel[3:-3] + DB_REFERENCE) / 10), reference["power"][3:-3], rtol=1e-3, atol=1e-3)


def test_levels_are_those_of_torchaudio(front_end: MelFrontEnd) -> None:
    speech = clip()
    transform = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=1024, hop_length=160, n_mels=128, f_max=8_000, center=False
    )
    mel = front_end.mel_db(speech)
    power = transform(torch.from_numpy(np.pad(speech, (512, 512 + 160))))[:, : len(mel)].T
    expected = (10 * power.clamp(min=1e-10).log10() - DB_REFERENCE).clamp(-80, 0)
    np.testing.assert_allclose(mel, expected.numpy(), atol=1e-3)


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 20_480, 20_481])
def test_there_is_a_frame_for_every_hop_that_began(front_end: MelFrontEnd, num_samples: int) -> None:
    assert front_end.mel_db(clip()[:num_samples]).shape == (-(-num_samples // 160), 128)


def test_any_chunk_of_a_file_has_the_bits_of_the_whole_file(front_end: MelFrontEnd) -> None:
    speech = clip()
    whole = front_end.mel_db(speech)
    extended = np.pad(speech, (512, 1024))
    for first, last in ((0, 1), (3, 131), (7, 8), (100, 254), (200, len(whole))):
        chunk = front_end.frames(extended[first * 160 : (last - 1) * 160 + 1024].copy(), last - first)
        np.testing.assert_array_equal(chunk, whole[first:last])


def test_a_full_scale_tone_is_just_below_zero_and_silence_at_the_floor(front_end: MelFrontEnd) -> None:
    tone = np.sin(2 * np.pi * 1_000 * np.arange(16_000) / 16_000).astype(np.float32)
    assert -1.5 < front_end.mel_db(tone).max() <= 0
    assert (front_end.mel_db(np.zeros(16_000, np.float32)) == -80).all()


def test_level_survives_and_does_not_depend_on_the_rest_of_the_file(front_end: MelFrontEnd) -> None:
    speech = clip()
    loud, quiet = front_end.mel_db(speech), front_end.mel_db(speech * 0.1)
    audible = quiet > -79
    np.testing.assert_allclose(loud[audible] - quiet[audible], 20, atol=0.01)
    followed = front_end.mel_db(np.concatenate([speech, np.ones(8_000, np.float32)]))
    np.testing.assert_array_equal(followed[: len(loud) - 4], loud[:-4])


def test_absurd_but_finite_samples_stay_within_the_range(front_end: MelFrontEnd) -> None:
    mel = front_end.mel_db(np.resize(np.array([100, -100], np.float32), 5_000))
    assert np.isfinite(mel).all()
    assert mel.max() == 0


@pytest.mark.parametrize("broken", [{"hop_length": None}, {"n_mels": "many"}, {"f_max": ""}])
def test_a_missing_or_broken_parameter_is_named(broken: dict[str, str | None]) -> None:
    parameters = {name: value for name, value in {**PARAMETERS, **broken}.items() if value is not None}
    with pytest.raises(ValueError, match=next(iter(broken))):
        MelParameters.from_config(parameters)


def test_griffin_lim_gives_back_intelligible_speech_at_its_level(front_end: MelFrontEnd) -> None:
    speech = clip()
    mel = front_end.mel_db(speech)
    waveform = GriffinLim(front_end).waveform(mel)
    assert waveform.shape == (len(mel) * 160,)
    waveform = waveform[: len(speech)]
    assert pystoi.stoi(speech, waveform, 16_000, extended=True) > 0.9
    assert abs(20 * np.log10(waveform.std() / speech.std())) < 1


def test_griffin_lim_gives_the_same_sound_every_time_and_takes_any_length(front_end: MelFrontEnd) -> None:
    mel, vocoder = front_end.mel_db(clip()), GriffinLim(front_end)
    np.testing.assert_array_equal(vocoder.waveform(mel[:40]), vocoder.waveform(mel[:40]))
    for length in (1, 2, 7):
        assert vocoder.waveform(mel[:length]).shape == (length * 160,)
    assert not vocoder.waveform(np.full((30, 128), -80, np.float32)).any()


def test_griffin_lim_in_chunks_has_no_seam(front_end: MelFrontEnd) -> None:
    mel, vocoder, cut = front_end.mel_db(clip()), GriffinLim(front_end), 120
    whole = vocoder.waveform(mel)
    left = vocoder.waveform(mel[: cut + CONTEXT_FRAMES])[: cut * 160]
    right = vocoder.waveform(mel[cut - CONTEXT_FRAMES :])[CONTEXT_FRAMES * 160 :]
    np.testing.assert_allclose(np.concatenate([left, right]), whole, atol=1e-4)
