"""Tokens on the wire: ids and their inverse, the container, the named fields; and every way to break them."""

import json
import re
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidInput, MalformedInput, ModelMismatch, PayloadTooLarge, UnsupportedMedia
from service.models.tokenizer.container import pack, pack_bits, unpack, unpack_bits
from service.models.tokenizer.forms import fields, from_fields, from_tensors, to_tensors
from service.models.tokenizer.ids import from_ids, to_ids
from service.models.tokenizer.layout import TokenLayout
from service.models.tokenizer.tokens import Tokens
from service.tensors import from_npz, from_safetensors, to_npz, to_safetensors
from tests.unit.test_tokenizer_postprocess import random_tokens
from tests.unit.test_tokenizer_preprocess import LAYOUT

DIGEST = "5eed" * 16


@st.composite
def any_tokens(draw: st.DrawFn) -> Tokens:
    bits = draw(st.integers(1, 62))
    layout = TokenLayout(
        sample_rate=draw(st.sampled_from([16_000, 24_000])),
        hop_length=draw(st.integers(1, 300)),
        window_frames=8 * draw(st.integers(1, 128)),
        time_patch=draw(st.sampled_from([1, 2, 4, 8])),
        bands=draw(st.integers(1, 8)),
        bits=bits,
    )
    num_samples = draw(st.integers(1, 4_000))
    shape = (draw(st.integers(1, 3)), layout.num_tokens(num_samples))
    codes = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 1 << bits, shape)
    return Tokens(layout, "tokenizer", DIGEST, num_samples, codes)


def assert_same(tokens: Tokens, other: Tokens) -> None:
    np.testing.assert_array_equal(tokens.tokens, other.tokens)
    assert tokens.tokens.dtype == other.tokens.dtype == np.int64
    for name in ("layout", "model", "model_digest", "num_samples"):
        assert getattr(tokens, name) == getattr(other, name)


@given(any_tokens())
@settings(deadline=None)
def test_the_container_gives_back_what_was_put_in(tokens: Tokens) -> None:
    assert_same(unpack(pack(tokens)), tokens)


@given(any_tokens(), st.data())
@settings(deadline=None)
def test_every_altered_byte_of_a_container_is_refused(tokens: Tokens, data: st.DataObject) -> None:
    packed = bytearray(pack(tokens))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedInput, UnsupportedMedia)):
        unpack(bytes(packed))


def test_every_single_byte_of_a_container_is_guarded() -> None:
    packed = pack(random_tokens(3_000))
    for position in range(len(packed)):
        for flip in (1, 128, 255):
            altered = packed[:position] + bytes([packed[position] ^ flip]) + packed[position + 1 :]
            with pytest.raises((MalformedInput, UnsupportedMedia)):
                unpack(altered)


def test_every_truncation_and_extension_of_a_container_is_refused() -> None:
    packed = pack(random_tokens(3_000))
    for length in range(len(packed)):
        with pytest.raises((MalformedInput, UnsupportedMedia)):
            unpack(packed[:length])
    with pytest.raises(MalformedInput):
        unpack(packed + b"\0")


def test_ten_seconds_take_1125_bytes_and_a_small_header() -> None:
    packed = pack(random_tokens(160_000))
    assert 0 < len(packed) - 1125 < 300


def rewritten(tokens: Tokens, *, payload: bytes | None = None, text: str | None = None, **changes: Any) -> bytes:
    """A container with another header or payload, and a checksum that is right."""
    packed = pack(tokens)
    end = 9 + int.from_bytes(packed[5:9], "little")
    header = {**json.loads(packed[9:end]), **changes}
    text = text or json.dumps({k: v for k, v in header.items() if v is not None}, sort_keys=True, separators=(",", ":"))
    body = packed[:5] + struct.pack("<I", len(text)) + text.encode() + (packed[end:-4] if payload is None else payload)
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_tokens": 75},
        {"num_tokens": 10**12},
        {"num_tokens": 0, "payload": b""},
        {"num_tokens": -76},
        {"channels": 2},
        {"channels": 0},
        {"num_samples": 10**15},
        {"num_samples": 0},
        {"num_samples": -5},
        {"num_samples": 24_000.0},
        {"num_samples": True},
        {"num_samples": "24000"},
        {"bits": 17},
        {"bits": 0},
        {"bits": 4096},
        {"hop_length": 0},
        {"time_patch": 0},
        {"time_patch": -8},
        {"bands": 10**9},
        {"window_frames": 1020},
        {"model_digest": None},
        {"extra": 1},
        {"text": "[]"},
        {"text": "{"},
        {"text": "[" * 4000},
        {"text": '{"bands": 4}'},
        {"payload": b""},
        {"payload": bytes(10**5)},
    ],
    ids=str,
)
def test_a_header_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises((MalformedInput, InvalidInput)):
        unpack(rewritten(random_tokens(24_000), **changes))


def test_there_is_one_way_to_write_a_container() -> None:
    tokens = random_tokens(24_000)
    header = json.loads(pack(tokens)[9 : 9 + int.from_bytes(pack(tokens)[5:9], "little")])
    assert unpack(rewritten(tokens)).num_samples == 24_000
    with pytest.raises(MalformedInput, match="canonical"):
        unpack(rewritten(tokens, text=json.dumps(header)))


def test_bits_behind_the_last_token_are_zero_or_the_container_is_refused() -> None:
    tokens = random_tokens(160)  # 4 tokens of 18 bits: 9 bytes
    odd = Tokens(TokenLayout(16_000, 160, 1024, 8, 1, 18), "tokenizer", DIGEST, 160, tokens.tokens[:, :1])
    payload = bytearray(pack_bits(odd.tokens, 18))
    payload[-1] |= 1
    with pytest.raises(MalformedInput, match="not zero"):
        unpack(rewritten(odd, payload=bytes(payload)))


def test_another_version_is_refused_by_name() -> None:
    packed = bytearray(pack(random_tokens(160)))
    packed[4] = 2
    with pytest.raises(UnsupportedMedia, match="version 2"):
        unpack(bytes(packed))


def test_bits_are_packed_the_most_significant_first() -> None:
    assert pack_bits(np.array([0b101, 0b011]), 3) == bytes([0b10101100])
    assert unpack_bits(bytes([0b10101100]), 2, 3).tolist() == [0b101, 0b011]


def test_tokens_must_fit_together() -> None:
    def tokens(codes: list[list[int]], num_samples: int = 1_280) -> Tokens:
        return Tokens(LAYOUT, "tokenizer", DIGEST, num_samples, np.array(codes))

    assert tokens([[0, 1, 2, (1 << 18) - 1]]).duration_s == 0.08
    for bad in (-1, 1 << 18):
        with pytest.raises(InvalidInput, match=rf"token 2 of channel 1 is {bad}") as refusal:
            tokens([[0, 0, 0, 0], [0, 0, bad, 0]])
        assert refusal.value.errors == [{"pointer": "/tokens/1/2", "detail": "not a token of this model"}]
    for num_samples in (0, -1, 1_281):
        with pytest.raises(InvalidInput, match="num_samples"):
            tokens([[0, 0, 0, 0]], num_samples)
    with pytest.raises(InvalidInput, match="9 channels"):
        tokens([[0, 0, 0, 0]] * 9)


def test_tokens_of_another_model_or_beyond_the_limit_are_refused() -> None:
    tokens = random_tokens(160_000)
    tokens.check(LAYOUT, DIGEST, 10)
    random_tokens(160_000, window_frames=256).check(LAYOUT, DIGEST, 10)
    with pytest.raises(ModelMismatch, match="c0de"):
        tokens.check(LAYOUT, "c0de", 10)
    with pytest.raises(ModelMismatch, match="layout"):
        tokens.check(TokenLayout(16_000, 160, 1024, 16, 4, 18), DIGEST, 10)
    with pytest.raises(PayloadTooLarge, match="10 s"):
        tokens.check(LAYOUT, DIGEST, 9.9)
    with pytest.raises(InvalidInput, match="up to 256"):
        tokens.check(LAYOUT.with_windows(256), DIGEST, 10)


def test_ids_are_the_bits_in_order_with_an_offset_for_each_codebook() -> None:
    token = np.array([[0b000001_000010_000011]])
    assert to_ids(token, 18).tolist() == [[0b000001_000010_000011]]
    assert to_ids(token, 18, 3).tolist() == [[1, 2, 3]]
    assert to_ids(token, 18, 3, vocab_offset=0).tolist() == [[1, 64 + 2, 128 + 3]]
    assert to_ids(token, 18, 3, vocab_offset=32_000).tolist() == [[32_001, 32_066, 32_131]]


@given(
    bits=st.sampled_from([9, 18, 36]),
    codebooks=st.sampled_from([1, 3, 9]),
    offset=st.none() | st.integers(0, 1 << 40),
    dtype=st.sampled_from([np.int64, np.uint64]),
    seed=st.integers(0, 99),
)
def test_ids_give_back_the_tokens(bits: int, codebooks: int, offset: int | None, dtype: type, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, 1 << bits, (2, 20))
    ids = to_ids(tokens, bits, codebooks, offset)
    assert ids.shape == (2, 20 * codebooks)
    np.testing.assert_array_equal(from_ids(ids.astype(dtype), bits, codebooks, offset), tokens)


def test_an_id_in_the_wrong_place_is_named() -> None:
    ids = to_ids(np.full((2, 5), 12_345), 18, 2, vocab_offset=1_000)
    ids[1, 3] -= 512  # an id of the first codebook where the second one's stands
    with pytest.raises(InvalidInput, match=re.escape("id 3 of channel 1")) as refusal:
        from_ids(ids, 18, 2, vocab_offset=1_000)
    assert refusal.value.errors is not None
    assert refusal.value.errors[0]["pointer"] == "/tokens/1/3"
    with pytest.raises(InvalidInput, match="no whole tokens of 2"):
        from_ids(ids[:, :-1], 18, 2, vocab_offset=1_000)
    for wrong in (-1, 1 << 62):
        with pytest.raises(InvalidInput, match="id 0 of channel 0"):
            from_ids(np.array([[wrong]]), 18)


@pytest.mark.parametrize("codebooks", [0, -1, 4, 19])
def test_codebooks_that_do_not_divide_the_bits_are_refused(codebooks: int) -> None:
    with pytest.raises(InvalidInput, match="1, 2, 3, 6, 9, 18"):
        to_ids(np.zeros((1, 1), np.int64), 18, codebooks)


@pytest.mark.parametrize(("codebooks", "offset"), [(1, None), (2, None), (3, 50_000), (18, 0)])
def test_fields_arrays_and_json_give_back_the_tokens(codebooks: int, offset: int | None) -> None:
    tokens = random_tokens(200_001, channels=2, window_frames=256)
    answer = fields(tokens, codebooks, offset)
    assert answer["num_frames"] == 1251
    assert answer["grid"] == (157, 4)
    assert answer["codebook_size"] == 2 ** (18 // codebooks)
    for there, back in ((to_npz, from_npz), (to_safetensors, from_safetensors)):
        arrays = back(there(to_tensors(answer)))
        assert_same(from_tensors(arrays, LAYOUT, model="tokenizer", model_digest="another"), tokens)
    read = json.loads(json.dumps({**answer, "tokens": answer["tokens"].tolist()}))
    options = {name: read[name] for name in ("codebooks", "vocab_offset", "window_frames", "num_samples")}
    assert_same(from_fields(read["tokens"], LAYOUT, model="tokenizer", model_digest=DIGEST, **options), tokens)


def test_bare_ids_stand_for_all_that_they_cover() -> None:
    tokens = from_fields([[1, 2, 3, 4] * 2], LAYOUT, model="tokenizer", model_digest=DIGEST)
    assert tokens.num_samples == 2 * 8 * 160
    assert tokens.layout == LAYOUT


@pytest.mark.parametrize(
    "ids",
    [[], [[]], [[1, 2, 3]], [[1, 2, 3, 4], [1, 2]], [[1 << 70, 0, 0, 0]], np.zeros((1, 4)), np.zeros(4, np.int64)],
    ids=str,
)
def test_ids_of_the_wrong_shape_or_kind_are_refused(ids: Any) -> None:
    with pytest.raises(InvalidInput):
        from_fields(ids, LAYOUT, model="tokenizer", model_digest=DIGEST)


def test_arrays_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no array named tokens"):
        from_tensors({}, LAYOUT, model="tokenizer", model_digest=DIGEST)
    for bad in (np.zeros(2, np.int64), np.float64(1.5)):
        arrays = {"tokens": np.zeros((1, 4), np.int64), "num_samples": np.asarray(bad)}
        with pytest.raises(InvalidInput, match="num_samples is not a single integer"):
            from_tensors(arrays, LAYOUT, model="tokenizer", model_digest=DIGEST)
