"""Decoding: every format that clients send, and what is refused."""

import contextlib
import io
import struct
import wave

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge, UnsupportedMedia
from service.media.audio import MAX_AMPLITUDE, Channel, open_audio, select_channels
from tests.sounds import DATA, FORMATS, LOSSLESS, clip, encode, encoded


def decode(
    data: bytes, content_type: str | None = "audio/x-anything", max_audio_s: float = 60
) -> tuple[int, NDArray[np.float32]]:
    """(sample rate, samples [C, n])."""
    with open_audio(io.BytesIO(data), content_type, max_audio_s=max_audio_s) as stream:
        samples = np.concatenate(list(stream.blocks()), axis=1)
        assert samples.dtype == np.float32
        assert samples.shape == (stream.channels, stream.num_samples)
        return stream.sample_rate, samples


def wav(samples: NDArray[np.generic], sample_rate: int = 16_000) -> bytes:
    """samples [n] or [C, n] of int16 or float32, written byte by byte: any rate and channel count."""
    samples = np.atleast_2d(samples)
    data, channels, width = samples.T.tobytes(), len(samples), samples.itemsize
    kind = 1 if samples.dtype == np.int16 else 3
    block = channels * width
    header = struct.pack("<HHIIHH", kind, channels, sample_rate, (sample_rate * block) & 0xFFFFFFFF, block, 8 * width)
    chunks = b"fmt " + struct.pack("<I", 16) + header + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize("audio_format", FORMATS)
def test_every_format_comes_back_as_the_sound_it_was(audio_format: str) -> None:
    speech = clip()
    rate, samples = decode(encoded(speech, audio_format))
    assert rate == FORMATS[audio_format][2]
    assert len(samples) == 1
    resampled = np.interp(np.arange(len(speech)) * rate / 16_000, np.arange(samples.shape[1]), samples[0])
    lag = 1024 if audio_format == "aac" else 0  # ADTS has no field for the encoder's delay
    low_passed = [np.convolve(x, np.ones(8) / 8, "same") for x in (speech[: len(speech) - lag], resampled[lag:])]
    assert np.corrcoef(*low_passed)[0, 1] > (0.98 if audio_format == "wav-8" else 0.99)


@pytest.mark.parametrize("audio_format", LOSSLESS)
def test_lossless_formats_have_every_sample(audio_format: str) -> None:
    speech, (container, codec, _) = clip(), FORMATS[audio_format]
    rate, samples = decode(encode(speech, container, codec, 16_000))
    assert rate == 16_000
    np.testing.assert_allclose(samples[0], speech, atol=1e-7, rtol=0)


@pytest.mark.parametrize("audio_format", ["ogg-opus", "webm", "m4a", "mp3"])
def test_lossy_formats_have_exactly_as_many_samples_as_were_encoded(audio_format: str) -> None:
    speech, (container, codec, rate) = clip(), FORMATS[audio_format]
    _, samples = decode(encode(speech, container, codec, rate, source_rate=rate))
    assert samples.shape == (1, len(speech))


def test_ogg_vorbis_decodes_as_libsndfile_decodes_it() -> None:
    path = DATA / "vit-m-hlava.ogg"
    expected, expected_rate = soundfile.read(path, dtype="float32")
    rate, samples = decode(path.read_bytes())
    assert rate == expected_rate
    np.testing.assert_allclose(samples, expected.T, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"live": "1"}, {"cluster_size_limit": "2000"}], ids=str)
def test_webm_as_browsers_record_it(options: dict[str, str]) -> None:
    rate, samples = decode(encoded(clip(), "webm", muxer_options=options), "video/webm;codecs=opus")
    assert rate == 48_000
    assert abs(samples.shape[1] - len(clip()) * 3) < 3 * 960


def test_fragmented_mp4_as_phones_record_it() -> None:
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    _, samples = decode(encoded(clip(), "m4a", muxer_options=flags), "audio/mp4")
    assert abs(samples.shape[1] / 44_100 - len(clip()) / 16_000) < 0.05


def test_tags_in_front_of_the_audio_are_skipped() -> None:
    size = 300_000
    syncsafe = bytes((size >> shift) & 127 for shift in (21, 14, 7, 0))
    tag = b"ID3\x04\0\0" + syncsafe + bytes(size)
    for audio_format in ("mp3", "flac", "aac"):
        plain, tagged = (decode(head + encoded(clip(), audio_format))[1] for head in (b"", tag))
        np.testing.assert_array_equal(plain, tagged)


def test_tags_behind_an_mp3_are_ignored() -> None:
    mp3 = encoded(clip(), "mp3")
    tag = b"TAG" + b"a title".ljust(125, b"\0")
    np.testing.assert_array_equal(decode(mp3 + tag)[1], decode(mp3)[1])


def test_a_wrong_audio_type_does_no_harm_because_the_bytes_decide() -> None:
    _, samples = decode(encoded(clip(), "wav"), "audio/flac")
    np.testing.assert_allclose(samples[0], clip(), atol=1e-7)
    for content_type in ("application/octet-stream", "", None, "Video/MP4"):
        assert decode(encoded(clip(), "m4a"), content_type)[0] == 44_100


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "image/png", "multipart/form-data"])
def test_a_type_that_is_not_audio_is_refused(content_type: str) -> None:
    with pytest.raises(UnsupportedMedia, match=content_type):
        decode(encoded(clip(), "wav"), content_type)


@pytest.mark.parametrize(
    "data",
    [
        b"hello, this is text",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(1000),
        b"#EXTM3U\nhttp://x/y.mp3\n",
        b"R",
        b"\xff" * 99,
    ],
    ids=["text", "png", "zeros", "playlist", "one byte", "ones"],
)
def test_bytes_of_no_audio_format_are_refused(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        decode(data)


@pytest.mark.parametrize("audio_format", FORMATS)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(audio_format: str, kept: float) -> None:
    data = encoded(clip(), audio_format)
    with pytest.raises(MalformedInput):
        decode(data[: int(len(data) * kept)])


@pytest.mark.parametrize("audio_format", ["wav", "flac", "ogg-opus", "m4a", "aiff"])
def test_a_file_without_its_last_byte_is_refused(audio_format: str) -> None:
    with pytest.raises(MalformedInput):
        decode(encoded(clip(), audio_format)[:-1])


def test_a_truncated_live_recording_is_refused() -> None:
    data = encoded(clip(), "webm", muxer_options={"live": "1"})
    with pytest.raises(MalformedInput, match="cut short"):
        decode(data[:-5])


def test_an_ogg_stream_without_its_last_page_is_refused() -> None:
    data = encoded(clip(), "ogg-opus")
    with pytest.raises(MalformedInput, match="not the end of the stream"):
        decode(data[: data.rfind(b"OggS")])


@pytest.mark.parametrize("audio_format", ["ogg-opus", "webm"])
def test_a_file_with_a_hole_in_the_middle_is_refused(audio_format: str) -> None:
    data = bytearray(encoded(clip(), audio_format))
    middle = len(data) // 2
    data[middle : middle + 1000] = bytes(1000)
    with pytest.raises(MalformedInput):
        decode(bytes(data))


def test_a_wav_written_to_a_pipe_has_no_length_and_is_read_to_its_end() -> None:
    data = bytearray(wav((clip() * 32767).astype(np.int16)))
    for placeholder in (0xFFFFFFFF, 0x7FFFFFFF, 0):
        struct.pack_into("<I", data, 40, placeholder)
        assert decode(bytes(data))[1].shape[1] == len(clip())


@pytest.mark.parametrize("audio_format", ["wav", "flac", "ogg-opus", "mp3", "m4a", "webm"])
def test_damaged_files_never_end_in_anything_but_a_refusal(audio_format: str) -> None:
    data, random = encoded(clip("vm-deleted"), audio_format), np.random.default_rng(5)
    for _ in range(60):
        damaged = np.frombuffer(data, np.uint8).copy()
        where = random.integers(0, min(len(data), int(random.choice([64, 1000, len(data)]))), size=4)
        damaged[where] = random.integers(0, 256, size=4)
        with contextlib.suppress(UnsupportedMedia, MalformedInput, InvalidInput, PayloadTooLarge):
            decode(damaged.tobytes())


@pytest.mark.parametrize("sample_rate", [1, 3_999, 768_001, 10_000_000])
def test_sample_rates_outside_the_range_are_refused_with_the_range(sample_rate: int) -> None:
    with pytest.raises(InvalidInput, match="4000 to 768000 Hz"):
        decode(wav(np.zeros(100, np.int16), sample_rate))
    with pytest.raises(InvalidInput, match="4000 to 768000 Hz"):
        decode(bytes(100), f"audio/L16;rate={sample_rate}")


@pytest.mark.parametrize("channels", [9, 200])
def test_too_many_channels_are_refused(channels: int) -> None:
    with pytest.raises((InvalidInput, MalformedInput)):
        decode(wav(np.zeros((channels, 100), np.int16)))
    with pytest.raises(InvalidInput, match="1 to 8"):
        decode(bytes(channels * 200), f"audio/L16;rate=16000;channels={channels}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 32767.0, -MAX_AMPLITUDE * 1.01])
def test_samples_that_are_no_sound_are_refused_with_their_position(value: float) -> None:
    samples = np.zeros((2, 40_000), np.float32)
    samples[1, 34_567] = value
    with pytest.raises(InvalidInput, match=r"sample 34567 of channel 1"):
        decode(wav(samples))


def test_overshoot_of_float_audio_is_kept() -> None:
    _, samples = decode(wav(np.array([1.5, -2.0], np.float32)))
    assert samples.tolist() == [[1.5, -2.0]]


@pytest.mark.parametrize("content_type", ["audio/wav", "audio/L16;rate=16000"])
def test_an_empty_body_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInput):
        decode(b"", content_type)


def test_a_file_without_samples_is_refused() -> None:
    empty = io.BytesIO()
    with wave.open(empty, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
    with pytest.raises(InvalidInput, match="no samples"):
        decode(empty.getvalue())


def test_audio_longer_than_the_limit_is_refused_and_just_at_it_is_not() -> None:
    assert decode(wav(np.zeros(16_000, np.int16)), max_audio_s=1)[1].shape == (1, 16_000)
    with pytest.raises(PayloadTooLarge, match="longer than 1 s"):
        decode(wav(np.zeros(16_001, np.int16)), max_audio_s=1)


@pytest.mark.parametrize(
    ("channel", "expected"), [("mix", [[2.0, 3.0]]), ("left", [[1.0, 2.0]]), ("right", [[3.0, 4.0]])]
)
def test_channels_are_mixed_or_chosen(channel: Channel, expected: list[list[float]]) -> None:
    stereo = np.array([[1, 2], [3, 4]], np.float32)
    chosen = select_channels(stereo, channel)
    assert chosen.tolist() == expected
    assert chosen.dtype == np.float32


def test_mono_has_a_left_channel_and_no_right_one() -> None:
    mono = np.ones((1, 3), np.float32)
    assert select_channels(mono, "left") is mono
    with pytest.raises(InvalidInput, match="at least two channels"):
        select_channels(mono, "right")


def test_of_several_tracks_the_first_is_taken() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as output:
        streams = [output.add_stream("flac", rate=16_000, layout="mono") for _ in range(2)]
        for stream, level in zip(streams, (1000, 2000), strict=True):
            frame = av.AudioFrame.from_ndarray(np.full((1, 4096), level, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            output.mux([*stream.encode(frame), *stream.encode(None)])
    _, samples = decode(buffer.getvalue())
    assert np.unique(samples).tolist() == [1000 / 32768]


@pytest.mark.parametrize(("subtype", "rate"), [("PCM_16", 8_000), ("PCM_24", 16_000)])
def test_audio_that_changes_its_format_on_the_way_is_refused(subtype: str, rate: int) -> None:
    """Two FLAC streams, one after the other: the frames say what they are, whatever the first header said."""
    first = encode(clip(), "flac", "flac", 16_000)
    other = io.BytesIO()
    soundfile.write(other, clip(), rate, format="FLAC", subtype=subtype)
    frames = other.getvalue()
    second = frames[frames.find(b"\xff\xf8") :]
    with pytest.raises((InvalidInput, MalformedInput)):
        decode(first + second)
