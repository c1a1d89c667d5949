"""Audio to windows: exact at every boundary, the same for files and streams, in bounded memory."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from service.dsp.mel import MelFrontEnd, MelParameters
from service.errors import InvalidInput, MalformedInput, PayloadTooLarge
from service.media.audio import Channel, open_audio
from service.media.pcm import PcmFormat
from service.models.tokenizer.layout import TokenLayout, bucket
from service.models.tokenizer.preprocess import AudioWindows, PcmWindows, Window, Windower
from tests.sounds import clip, encoded
from tests.unit.test_mel import PARAMETERS

LAYOUT = TokenLayout.from_config({**PARAMETERS, "time_patch": "8", "freq_patch": "32", "window_frames": "1024"})


@pytest.fixture(scope="module")
def front_end() -> MelFrontEnd:
    return MelFrontEnd(MelParameters.from_config(PARAMETERS))


def long_speech(num_samples: int) -> NDArray[np.float32]:
    return np.resize(np.concatenate([clip(), clip("vm-deleted")]), num_samples)


def pieces(samples: NDArray[np.float32], seed: int = 0) -> Iterator[NDArray[np.float32]]:
    """Cuts [C, n] at random places."""
    random, first = np.random.default_rng(seed), 0
    while first < samples.shape[1]:
        size = int(random.choice([1, 7, 160, 5_000, 200_000]))
        yield samples[:, first : first + size]
        first += size


def check(windows: list[Window], samples: NDArray[np.float32], window_frames: int, front_end: MelFrontEnd) -> None:
    """The windows are the whole signal's mel, bit for bit, in pieces that are padded with silence."""
    layout = LAYOUT.with_windows(window_frames)
    assert [window.num_frames for window in windows] == list(layout.windows(samples.shape[1]))
    assert [window.index for window in windows] == list(range(len(windows)))
    for window in windows:
        assert window.mel.shape == (len(samples), bucket(window.num_frames), 128)
        assert (window.mel[:, window.num_frames :] == -80).all()
    whole = np.stack([front_end.mel_db(row) for row in samples])
    np.testing.assert_array_equal(np.concatenate([w.mel[:, : w.num_frames] for w in windows], axis=1), whole)


@pytest.mark.parametrize("window_frames", [256, 1024])
@pytest.mark.parametrize("offset", [-161, -160, -159, -1, 0, 1, 159, 160, 161, 351, 352, 353, 511, 512, 513])
def test_windows_are_the_whole_signals_mel_at_every_boundary(
    window_frames: int, offset: int, front_end: MelFrontEnd
) -> None:
    samples = np.stack([long_speech(window_frames * 160 + offset), long_speech(window_frames * 160 + offset)[::-1]])
    windower = Windower(front_end, window_frames, 2)
    windows = [window for piece in pieces(samples, offset + 1000) for window in windower.push(piece)]
    check(windows + windower.finish(), samples, window_frames, front_end)
    assert windower.num_samples == samples.shape[1]
    assert windower.num_frames == -(-samples.shape[1] // 160)


@pytest.mark.parametrize("num_samples", [1, 159, 160, 161, 1_280, 500_000])
def test_signals_of_any_length_have_windows(num_samples: int, front_end: MelFrontEnd) -> None:
    samples = long_speech(num_samples)[None]
    windower = Windower(front_end, 1024, 1)
    check(windower.push(samples) + windower.finish(), samples, 1024, front_end)


def test_a_window_comes_as_soon_as_its_last_frame_has_its_samples(front_end: MelFrontEnd) -> None:
    windower = Windower(front_end, 256, 1)
    needed = 255 * 160 + 512
    assert windower.push(long_speech(needed - 1)[None]) == []
    (window,) = windower.push(np.zeros((1, 1), np.float32))
    assert window.num_frames == 256


def test_windows_are_batches_of_the_encoders_inputs(front_end: MelFrontEnd) -> None:
    windower = Windower(front_end, 1024, 2)
    windower.push(np.zeros((2, 20_000), np.float32))
    (window,) = windower.finish()
    inputs = window.inputs()
    assert (inputs["mel"].shape, inputs["mel"].dtype) == ((2, 128, 128), np.float32)
    assert (inputs["num_frames"].tolist(), inputs["num_frames"].dtype) == ([[125], [125]], np.int32)


@pytest.mark.parametrize("channel", ["mix", "left", "right", "each"])
def test_a_file_gives_the_windows_of_the_channels_that_were_asked_for(channel: Channel, front_end: MelFrontEnd) -> None:
    stereo = np.stack([clip(), 0.5 * clip()[::-1]])
    with open_audio(io.BytesIO(encoded(stereo, "wav-float", layout="stereo")), "audio/wav", max_audio_s=10) as stream:
        windows = AudioWindows(stream.sample_rate, stream.channels, channel, front_end, 1024)
        (window,) = windows.read(stream)
    rows = {"mix": [stereo.mean(axis=0)], "left": [stereo[0]], "right": [stereo[1]], "each": list(stereo)}[channel]
    assert windows.channels == len(rows)
    assert abs(windows.num_samples - stereo.shape[1]) <= 2  # up to 44.1 kHz and back
    expected = np.stack([front_end.mel_db(row) for row in rows])
    heard = (expected > -70) & (np.arange(128) < 110)
    np.testing.assert_allclose(window.mel[:, : expected.shape[1]][heard], expected[heard], atol=1.5)


def test_a_stream_of_any_chunks_equals_the_file(front_end: MelFrontEnd) -> None:
    speech = np.stack([long_speech(200_000), long_speech(200_000)[::-1]])
    data = np.rint(speech * 32767).astype("<i2").T.tobytes()
    for rate in (16_000, 44_100):
        with open_audio(io.BytesIO(data), f"audio/pcm;rate={rate};channels=2", max_audio_s=60) as stream:
            from_file = AudioWindows(rate, 2, "mix", front_end, 256)
            expected = list(from_file.read(stream))
        live = PcmWindows(PcmFormat(rate, 2, "s16le"), "mix", front_end, 256, max_audio_s=60)
        sizes, windows, first = np.random.default_rng(1), [], 0
        while first < len(data):
            size = int(sizes.choice([1, 2, 3, 641, 50_001]))
            windows += live.push(data[first : first + size])
            first += size
        windows += live.finish()
        assert live.windows.num_samples == from_file.num_samples
        assert len(windows) == len(expected)
        for window, other in zip(windows, expected, strict=True):
            np.testing.assert_array_equal(window.mel, other.mel)


def test_a_stream_is_refused_when_it_is_too_long_or_no_sound_or_ends_inside_a_sample(front_end: MelFrontEnd) -> None:
    def live() -> PcmWindows:
        return PcmWindows(PcmFormat(16_000, 1, "f32le"), "mix", front_end, 256, max_audio_s=1)

    with pytest.raises(PayloadTooLarge):
        live().push(bytes(4 * 16_001))
    with pytest.raises(InvalidInput, match="sample 2 "):
        live().push(np.array([0, 0, np.nan], "<f4").tobytes())
    with pytest.raises(InvalidInput, match="no samples"):
        live().finish()
    with pytest.raises(InvalidInput, match="4000 to 768000"):
        PcmWindows(PcmFormat(100, 1, "f32le"), "mix", front_end, 256, max_audio_s=1)
    stream = live()
    stream.push(bytes(5))
    with pytest.raises(MalformedInput, match="1 bytes are left over"):
        stream.finish()


def test_the_layout_counts_frames_windows_and_tokens() -> None:
    assert LAYOUT.tokens_per_second == 50
    assert LAYOUT.grid(160 * 1025) == (129, 4)
    assert LAYOUT.num_tokens(1) == 4
    assert list(LAYOUT.windows(160 * 2048 + 1)) == [1024, 1024, 1]
    assert sum(LAYOUT.tokens_of(frames) for frames in LAYOUT.windows(999_999)) == LAYOUT.num_tokens(999_999)


@pytest.mark.parametrize("window_frames", [0, 4, 12, 1032])
def test_windows_that_the_model_cannot_take_are_refused(window_frames: int) -> None:
    with pytest.raises(InvalidInput, match="multiples of 8 up to 1024"):
        LAYOUT.with_windows(window_frames)


@pytest.mark.parametrize("broken", [{"bits": None}, {"freq_patch": "30"}, {"window_frames": "1020"}])
def test_a_layout_that_does_not_fit_is_refused(broken: dict[str, str | None]) -> None:
    parameters = {**PARAMETERS, "time_patch": "8", "freq_patch": "32", "window_frames": "1024", **broken}
    with pytest.raises(ValueError, match=r"config\.pbtxt"):
        TokenLayout.from_config({name: value for name, value in parameters.items() if value is not None})
