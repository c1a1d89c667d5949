"""Raw PCM, which has no header: its Content-Type says everything."""

import numpy as np
import pytest

from service.errors import InvalidInput, MalformedInput
from service.media.pcm import pcm_format
from tests.sounds import clip
from tests.unit.test_audio import decode


def test_raw_pcm_is_big_endian_as_l16_and_little_endian_as_pcm() -> None:
    speech = np.stack([clip(), -clip()])
    steps = np.rint(speech * 32768).clip(-32768, 32767)
    for dtype, content_type in (
        (">i2", "audio/L16; rate=16000; channels=2"),
        ("<i2", 'AUDIO/PCM;rate="16000";channels=2'),
        ("<i2", "audio/pcm;rate=16000;channels=2;encoding=s16le"),
    ):
        rate, samples = decode(steps.T.astype(dtype).tobytes(), content_type)
        assert rate == 16_000
        np.testing.assert_array_equal(samples, (steps / 32768).astype(np.float32))
    _, samples = decode(speech.T.astype("<f4").tobytes(), "audio/pcm;rate=8000;channels=2;encoding=f32le")
    np.testing.assert_array_equal(samples, speech)


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/L16",
        "audio/L16;rate=fast",
        "audio/L16;rate=-1",
        "audio/L16;rate=16000;channels=0.5",
        "audio/L16;rate=16000;encoding=s16le",
        "audio/pcm;rate=16000;encoding=mulaw",
    ],
)
def test_raw_pcm_with_bad_parameters_is_refused(content_type: str) -> None:
    with pytest.raises(InvalidInput):
        decode(bytes(100), content_type)


def test_raw_pcm_that_ends_inside_a_sample_is_refused() -> None:
    with pytest.raises(MalformedInput, match="frames of 4 bytes"):
        decode(bytes(4 * 100_000 + 3), "audio/L16;rate=16000;channels=2")


def test_only_raw_pcm_types_state_a_format() -> None:
    assert pcm_format("audio/wav;rate=16000") is None
    assert pcm_format("") is None
