"""What a recording is taken to last, before it is decoded."""

import io
import wave
from typing import Any, cast

import pytest

from service.web.body import Upload
from service.web.estimate import audio_s, nominal_s
from tests import sounds

CLIP_S = sounds.clip().size / sounds.SAMPLE_RATE


def sent(data: bytes, content_type: str = "") -> Upload:
    return Upload(cast(Any, io.BytesIO(data)), content_type, len(data))


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_the_header_says_how_long_it_is(audio_format: Any) -> None:
    assert audio_s(sent(sounds.encoded(sounds.clip(), audio_format))) == pytest.approx(CLIP_S, rel=0.01)


def test_what_a_header_says_that_no_decoder_reads_is_not_believed() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        wav.writeframes(bytes(320_000))
    data = bytearray(file.getvalue())
    data[28:32] = b"\xff" * 4  # bytes a second
    assert audio_s(sent(bytes(data))) == pytest.approx(10, rel=0.01)
    claims = b"fLaC" + bytes(14) + (1 << 44 | (1 << 36) - 1).to_bytes(8) + bytes(320_000)  # 2000 years at 1 Hz
    assert audio_s(sent(claims, "audio/L16;rate=16000")) == pytest.approx(10, rel=0.01)
    assert nominal_s(sent(claims), 3600) < 40  # of the longest that is accepted
