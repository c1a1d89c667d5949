"""Plain WAV is read as FFmpeg reads it, without FFmpeg; everything else is left to it."""

import io
import struct

import numpy as np
import pytest

from service.errors import MalformedInput
from service.media import wav
from service.media.decode import Decoder
from tests import sounds


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for name, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def header(tag: int = 1, channels: int = 2, rate: int = 16_000, bits: int = 16, extension: bytes = b"") -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extension


DATA = np.random.default_rng(0).integers(-32768, 32768, 40_000, "<i2").tobytes()
FLOATS = np.random.default_rng(0).uniform(-1, 1, 10_000).astype("<f4").tobytes()
GUID = bytes.fromhex("000000001000800000aa00389b71")
PLAIN = {
    "16 bits": riff((b"fmt ", header()), (b"data", DATA)),
    "float": riff((b"fmt ", header(3, bits=32)), (b"data", FLOATS)),
    "chunks around": riff((b"junk", b"odd"), (b"fmt ", header()), (b"data", DATA), (b"cue ", b"x")),
    "extensible": riff((b"fmt ", header(0xFFFE, extension=struct.pack("<HHIH", 22, 16, 3, 1) + GUID)), (b"data", DATA)),
    "a stream": riff((b"fmt ", header()), (b"data", DATA)).replace(
        b"data" + struct.pack("<I", len(DATA)), b"data\xff\xff\xff\x7f"
    ),
    "a stream cut inside a frame": riff((b"fmt ", header()), (b"data", DATA)).replace(
        b"data" + struct.pack("<I", len(DATA)), b"data\xff\xff\xff\x7f"
    )[:-3],
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_files_have_the_samples_that_ffmpeg_finds(name: str) -> None:
    found = wav.plain(io.BytesIO(PLAIN[name]))
    assert found is not None
    expected = Decoder(io.BytesIO(PLAIN[name]), "wav", 0)
    assert (found.sample_rate, found.channels) == (expected.sample_rate, expected.channels)
    blocks = [np.concatenate(list(source.blocks()), axis=1) for source in (found, expected)]
    np.testing.assert_array_equal(*blocks)
    expected.close()


@pytest.mark.parametrize(
    "data",
    [
        sounds.encoded(sounds.clip(), "wav-24"),
        sounds.encoded(sounds.clip(), "wav-8"),
        riff((b"fmt ", header(0x55)), (b"data", DATA)),
        riff((b"fmt ", header(channels=0)), (b"data", DATA)),
        riff((b"fmt ", header()[:10]), (b"data", DATA)),
        riff((b"data", DATA), (b"fmt ", header())),
    ],
)
def test_other_files_are_left_to_ffmpeg(data: bytes) -> None:
    assert wav.plain(io.BytesIO(data)) is None


def test_a_file_that_is_cut_short_is_malformed() -> None:
    with pytest.raises(MalformedInput, match="cut short"):
        wav.plain(io.BytesIO(PLAIN["16 bits"][:-4]))
