"""POST /v1/tokenize: what comes in, what comes out."""

import asyncio
import io
import json

import httpx
import numpy as np
import pytest
import soundfile
from safetensors.numpy import load as load_safetensors

from service.models.tokenizer import container
from tests import sounds, tiny

CONTAINER = "application/vnd.auricle.tokens"


def joined(codes: list[list[int]], bits: int) -> np.ndarray:
    """Ids of one channel, grouped -> whole tokens."""
    tokens = np.zeros(len(codes), np.int64)
    for column in np.array(codes).T:
        tokens = tokens << bits | column
    return tokens


async def test_a_recording_becomes_tokens_that_say_exactly_what_was_encoded(client: httpx.AsyncClient) -> None:
    clip = sounds.clip()
    answer = await client.post(
        "/v1/tokenize", content=sounds.encoded(clip, "flac"), headers={"Content-Type": "audio/flac"}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    frames = -(-len(clip) // 160)
    steps = -(-frames // 8)
    assert body.pop("duration_s") == pytest.approx(len(clip) / 16000, abs=1e-3)
    assert body.pop("num_samples") == pytest.approx(len(clip), abs=1)  # through 44.1 kHz and back
    tokens = body.pop("tokens")
    assert body == {
        "model": "tokenizer",
        "model_digest": tiny.DIGEST,
        "sample_rate": 16000,
        "num_frames": frames,
        "window_frames": 1024,
        "bits": 18,
        "codebooks": 1,
        "codebook_size": 2**18,
        "vocab_offset": None,
        "grid": [steps, 4],
    }
    assert len(tokens) == 1
    assert len(tokens[0]) == steps * 4
    assert max(tokens[0]) < 2**18
    assert np.ptp(tokens[0]) > 2**15  # sound, not silence


async def test_curl_need_not_name_a_type(client: httpx.AsyncClient) -> None:
    flac = sounds.encoded(sounds.clip(), "flac")
    named = await client.post("/v1/tokenize", content=flac, headers={"Content-Type": "audio/flac"})
    default = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await client.post("/v1/tokenize", content=flac, headers=default)).json() == named.json()


@pytest.mark.parametrize("audio_format", sounds.FORMATS)
async def test_every_common_format_is_read(client: httpx.AsyncClient, audio_format: str) -> None:
    clip = sounds.clip()
    answer = await client.post("/v1/tokenize", content=sounds.encoded(clip, audio_format))
    assert answer.status_code == 200, answer.text
    assert answer.json()["duration_s"] == pytest.approx(len(clip) / 16000, abs=0.1)


async def test_raw_pcm_is_what_its_content_type_says(client: httpx.AsyncClient) -> None:
    clip = sounds.clip()
    reference = await client.post("/v1/tokenize", content=sounds.encoded(clip, "wav"))
    integers = np.rint(clip * 32768).clip(-32768, 32767).astype(np.int16)
    for content_type, content in {
        "audio/L16;rate=16000;channels=1": integers.astype(">i2").tobytes(),
        "audio/L16; rate=16000": integers.astype(">i2").tobytes(),
        "audio/pcm;rate=16000;encoding=s16le": integers.astype("<i2").tobytes(),
        "audio/pcm;rate=16000;encoding=f32le": (integers / np.float32(32768)).astype("<f4").tobytes(),
    }.items():
        answer = await client.post("/v1/tokenize", content=content, headers={"Content-Type": content_type})
        assert answer.status_code == 200, answer.text
        assert answer.json()["tokens"] == reference.json()["tokens"], content_type


async def test_all_forms_of_the_answer_hold_the_same_tokens(client: httpx.AsyncClient) -> None:
    body = sounds.encoded(sounds.clip(), "wav")
    answers = {
        accept: await client.post("/v1/tokenize", content=body, headers={"Accept": accept})
        for accept in ("application/json", CONTAINER, "application/x-npz", "application/vnd.safetensors")
    }
    for accept, answer in answers.items():
        assert (answer.status_code, answer.headers["content-type"]) == (200, accept)
    named = answers["application/json"].json()
    packed = container.unpack(answers[CONTAINER].content)
    with np.load(io.BytesIO(answers["application/x-npz"].content), allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["tokens"], named["tokens"])
        assert arrays["num_samples"] == named["num_samples"]
    tensors = load_safetensors(answers["application/vnd.safetensors"].content)
    np.testing.assert_array_equal(tensors["tokens"], named["tokens"])
    np.testing.assert_array_equal(packed.tokens, named["tokens"])
    assert packed.num_samples == named["num_samples"]


async def test_the_container_costs_900_bits_a_second_and_a_small_header(client: httpx.AsyncClient) -> None:
    silence = np.zeros(16000 * 60, np.float32)
    answer = await client.post("/v1/tokenize", content=sounds.encoded(silence, "flac"), headers={"Accept": CONTAINER})
    assert 0 < len(answer.content) - 60 * 900 / 8 < 400


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("application/*;q=0.5, application/json;q=0.1", CONTAINER),
        (f"application/json;q=0.2, {CONTAINER};q=0.9", CONTAINER),
        ("text/html, application/x-npz;q=0.8, */*;q=0.1", "application/x-npz"),
        ("application/json;q=0, */*", CONTAINER),
        ("nonsense", "application/json"),
    ],
)
async def test_accept_chooses_by_quality_and_specificity(
    client: httpx.AsyncClient, accept: str, media_type: str
) -> None:
    answer = await client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "wav"), headers={"Accept": accept})
    assert answer.headers["content-type"] == media_type


async def test_nothing_acceptable_is_a_problem_that_lists_the_offer(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/v1/tokenize", content=sounds.encoded(sounds.clip(), "wav"), headers={"Accept": "image/png"}
    )
    assert answer.status_code == 406
    assert CONTAINER in answer.json()["detail"]


@pytest.mark.parametrize("codebooks", [1, 2, 3, 6, 9, 18])
async def test_codebooks_split_a_token_without_losing_a_bit(client: httpx.AsyncClient, codebooks: int) -> None:
    body = sounds.encoded(sounds.clip(), "wav")
    whole = (await client.post("/v1/tokenize", content=body)).json()["tokens"][0]
    answer = (await client.post(f"/v1/tokenize?codebooks={codebooks}", content=body)).json()
    bits = 18 // codebooks
    assert (answer["codebooks"], answer["codebook_size"]) == (codebooks, 1 << bits)
    groups = np.reshape(answer["tokens"][0], (-1, codebooks)).tolist()
    np.testing.assert_array_equal(joined(groups, bits), whole)


async def test_vocab_offset_gives_every_codebook_its_own_range(client: httpx.AsyncClient) -> None:
    body = sounds.encoded(sounds.clip(), "wav")
    plain = (await client.post("/v1/tokenize?codebooks=2", content=body)).json()["tokens"]
    placed = (await client.post("/v1/tokenize?codebooks=2&vocab_offset=32000", content=body)).json()
    assert placed["vocab_offset"] == 32000
    offsets = np.array(placed["tokens"]) - np.array(plain)
    assert set(offsets[0, 0::2]) == {32000}
    assert set(offsets[0, 1::2]) == {32512}


async def test_channels_are_mixed_chosen_or_kept_apart(client: httpx.AsyncClient) -> None:
    left, right = sounds.clip("vm-deleted"), sounds.clip("something-terribly-wrong")
    count = min(len(left), len(right))
    stereo = sounds.encoded(np.stack([left[:count], right[:count]]), "wav", layout="stereo")

    async def tokens(query: str, body: bytes) -> list[list[int]]:
        answer = await client.post(f"/v1/tokenize{query}", content=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["tokens"]

    alone = [(await tokens("", sounds.encoded(part[:count], "wav")))[0] for part in (left, right)]
    assert await tokens("?channel=left", stereo) == [alone[0]]
    assert await tokens("?channel=right", stereo) == [alone[1]]
    assert await tokens("?channel=each", stereo) == alone
    assert await tokens("", stereo) not in ([alone[0]], [alone[1]])


async def test_eight_channels_of_long_audio_fit(client: httpx.AsyncClient) -> None:
    rng = np.random.default_rng(0)
    surround = rng.uniform(-0.5, 0.5, (8, 16000 * 12)).astype(np.float32)
    answer = await client.post(
        "/v1/tokenize?channel=each",
        content=surround.T.astype("<f4").tobytes(),
        headers={"Content-Type": "audio/pcm;rate=16000;channels=8;encoding=f32le"},
    )
    assert answer.status_code == 200, answer.text
    assert [len(row) for row in answer.json()["tokens"]] == [600] * 8
    sound = await client.post("/v1/detokenize", json=answer.json())
    assert soundfile.read(io.BytesIO(sound.content))[0].shape == (16000 * 12, 8)


async def test_long_audio_is_cut_into_windows_whose_tokens_follow_each_other(client: httpx.AsyncClient) -> None:
    clip = np.resize(sounds.clip(), 16000 * 25)
    whole = (await client.post("/v1/tokenize", content=sounds.encoded(clip, "wav"))).json()
    assert whole["num_samples"] == len(clip)
    assert len(whole["tokens"][0]) == 313 * 4
    short = (await client.post("/v1/tokenize?window_frames=256", content=sounds.encoded(clip, "wav"))).json()
    assert short["window_frames"] == 256
    # the tiny model's tokens do not depend on their window, so both ways agree
    assert short["tokens"] == whole["tokens"]


async def test_requests_at_once_get_the_answers_they_get_alone(client: httpx.AsyncClient) -> None:
    bodies = [sounds.encoded(sounds.clip()[: 8000 + 777 * i], "wav") for i in range(16)]
    alone = [(await client.post("/v1/tokenize", content=body)).json() for body in bodies]
    together = await asyncio.gather(*(client.post("/v1/tokenize", content=body) for body in bodies))
    assert [answer.json() for answer in together] == alone


async def test_the_documented_answer_is_the_shape_of_a_real_one(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    schema = document["components"]["schemas"]["TokenizeAnswer"]
    answer = (await client.post("/v1/tokenize", content=sounds.encoded(sounds.clip(), "wav"))).json()
    assert set(answer) == set(schema["properties"]) == set(schema["example"])
    assert json.dumps(schema["example"])
