"""Small files that claim or unpack to much: refused, or decoded in flat memory, measured in a process of its own."""

import io
import multiprocessing
import re
import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest

from service.errors import InvalidInput, PayloadTooLarge, ServiceError
from service.media.audio import open_audio
from service.media.encode import AudioWriter
from tests.sounds import clip, encoded

_ALLOWANCE_MIB = 24


def decode(data: bytes, max_audio_s: float = 60) -> int:
    """The number of samples."""
    with open_audio(io.BytesIO(data), "audio/x-anything", max_audio_s=max_audio_s) as stream:
        return sum(block.shape[1] for block in stream.blocks())


def peak_mib() -> float:
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[0]) / 1024


def _decode_and_measure(data: bytes, max_audio_s: float) -> tuple[str, float]:
    decode(encoded(clip(), "flac"))  # the libraries' own first memory does not count
    before, outcome = peak_mib(), "decoded"
    try:
        decode(data, max_audio_s)
    except ServiceError as refusal:
        outcome = type(refusal).__name__
    return outcome, peak_mib() - before


def measured(data: bytes, max_audio_s: float = 60) -> tuple[str, float]:
    """(outcome, MiB by which decoding raised the memory of a fresh process)."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_decode_and_measure, (data, max_audio_s))


def silence(minutes: int) -> bytes:
    """FLAC of nothing: ten thousand samples a byte once decoded."""
    file = io.BytesIO()
    with AudioWriter(file, "flac", 16_000, 1) as writer:
        for _ in range(minutes):
            writer.write(np.zeros((1, 60 * 16_000), np.float32))
    return file.getvalue()


def opus_bomb(packets: int) -> bytes:
    """One packet of 120 ms of silence, again and again."""
    file, samples = io.BytesIO(), 5_760
    with av.open(file, "w", format="webm") as output:
        stream = output.add_stream("libopus", rate=48_000, layout="mono", options={"frame_duration": "120"})
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 3 * samples), np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.pts = 48_000, 0
        first = stream.encode(frame)[0]
        for number in range(packets):
            packet = av.Packet(bytes(first))
            packet.stream, packet.time_base = stream, first.time_base
            packet.pts = packet.dts = number * samples
            packet.duration = samples
            output.mux(packet)
    return file.getvalue()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_silence_of_many_minutes_stops_at_the_limit_in_flat_memory() -> None:
    flac = silence(20)  # 77 MB as float32
    assert len(flac) < 300_000
    outcome, growth = measured(flac, max_audio_s=15 * 60)
    assert outcome == "PayloadTooLarge"
    assert growth < _ALLOWANCE_MIB
    outcome, growth = measured(flac, max_audio_s=20 * 60)
    assert outcome == "decoded"
    assert growth < _ALLOWANCE_MIB


def test_flac_that_declares_more_than_the_limit_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(PayloadTooLarge, match="longer than 60 s"):
        open_audio(io.BytesIO(silence(2)), "audio/flac", max_audio_s=60)


def test_opus_of_an_hour_in_a_few_bytes_a_second_is_refused_at_the_limit() -> None:
    bomb = opus_bomb(20_000)
    assert len(bomb) / 2_400 < 500
    with pytest.raises(PayloadTooLarge):
        decode(bomb, max_audio_s=60)


def test_an_mp4_that_lists_more_samples_than_it_has_bytes_is_refused() -> None:
    m4a = bytearray(encoded(clip(), "m4a"))
    for box, fields in ((b"stsz", (0, 5, 10**8)), (b"stsc", (0, 1, 1, 10**8, 1)), (b"stts", (0, 1, 10**8, 1024))):
        struct.pack_into(f">{len(fields)}I", m4a, m4a.find(box) + 4, *fields)
    with pytest.raises(InvalidInput, match="lists 100000000 samples"):
        decode(bytes(m4a))


def test_a_fragment_that_lists_more_samples_than_there_are_bytes_is_refused() -> None:
    flags = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "500000"}
    m4a = bytearray(encoded(clip(), "m4a", muxer_options=flags))
    struct.pack_into(">II", m4a, m4a.find(b"trun") + 4, 0, 10**8)
    with pytest.raises(InvalidInput, match="lists 1000000"):
        decode(bytes(m4a))


def test_an_mp4_that_plays_its_samples_again_and_again_is_refused() -> None:
    m4a = bytearray(encoded(clip(), "m4a"))
    struct.pack_into(">I", m4a, m4a.find(b"elst") + 8, 10_000)
    with pytest.raises(InvalidInput, match="edit list"):
        decode(bytes(m4a))


def test_an_mp4_with_a_compressed_header_is_refused() -> None:
    m4a = encoded(clip(), "m4a")
    with pytest.raises(InvalidInput, match="compressed header"):
        decode(m4a.replace(b"udta", b"cmov"))


def compressed_tag(size: int) -> bytes:
    """An ID3 tag whose one frame unpacks to `size` zeros."""

    def syncsafe(number: int) -> bytes:
        return bytes((number >> shift) & 127 for shift in (21, 14, 7, 0))

    content = zlib.compress(bytes(size), 9)
    frame = b"TXXX" + syncsafe(len(content) + 4) + b"\0\x09" + syncsafe(size) + content
    frame += b"\0" * (len(frame) % 2)
    return b"ID3\x04\0\0" + syncsafe(len(frame)) + frame


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("audio_format", ["wav", "aiff", "mp3"])
def test_compressed_tags_are_not_unpacked(audio_format: str) -> None:
    plain, tag = encoded(clip(), audio_format), compressed_tag(100 << 20)
    if audio_format == "mp3":
        tagged = tag + plain
    else:
        chunk_id, number = (b"id3 ", struct.Struct("<I")) if audio_format == "wav" else (b"ID3 ", struct.Struct(">I"))
        chunk = chunk_id + number.pack(len(tag)) + tag
        tagged = plain[:4] + number.pack(len(plain) + len(chunk) - 8) + plain[8:12] + chunk + plain[12:]
    assert decode(tagged) == decode(plain)
    assert measured(tagged) == ("decoded", pytest.approx(0, abs=_ALLOWANCE_MIB))


@pytest.mark.parametrize(
    "data",
    [
        b"RIFF\xff\xff\xff\xffWAVE" + b"junk\0\0\0\0" * 500_000,
        b"\0\0\0\x08ftyp" + b"\0\0\0\x08free" * 600_000,
        b"\x1aE\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff" + b"\xec\x80" * 600_000,
        b"\xff\xf1\x50\x80\x00\xff\xfc" * 600_000,
        b"\xff\xfb\x90\x64" + np.random.default_rng(0).bytes(2_000_000),
        (b"OggS\0\2" + bytes(21)) * 300_000 + b"OggS\0\4" + bytes(21),
    ],
    ids=["riff", "mp4", "ebml", "adts", "mp3", "ogg"],
)
def test_files_of_nothing_but_structure_are_refused(data: bytes) -> None:
    with pytest.raises(ServiceError) as refusal:
        decode(data)
    assert 400 <= refusal.value.status < 500
