"""Named arrays: batches put together and taken apart, and bytes that may come from anyone."""

import contextlib
import io
import pickle
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import MalformedInput, PayloadTooLarge
from service.tensors import Tensors, from_npz, from_safetensors, split, stack, to_npz, to_safetensors

SAMPLE: Tensors = {
    "mel": np.random.default_rng(0).normal(size=(3, 5, 2)).astype(np.float32),
    "tokens": np.arange(6, dtype=np.int64).reshape(3, 2),
    "transposed": np.arange(12, dtype=np.int16).reshape(3, 4).T,
    "scalar": np.array(7.5),
    "empty": np.zeros((0, 4), np.uint8),
    "file": np.array([True, False]),  # also the name of a parameter of np.savez
}

READERS = pytest.mark.parametrize(
    ("write", "read"), [(to_npz, from_npz), (to_safetensors, from_safetensors)], ids=["npz", "safetensors"]
)


def test_split_takes_apart_what_stack_put_together() -> None:
    sizes = [1, 3, 2]
    parts = [{"a": np.full((size, 2), size), "b": np.arange(size)} for size in sizes]
    for part, again in zip(parts, split(stack(parts), sizes), strict=True):
        assert part.keys() == again.keys()
        for name in part:
            np.testing.assert_array_equal(part[name], again[name])


def test_split_refuses_a_batch_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"'a' has shape \[3\], not 4 rows"):
        split({"a": np.arange(3)}, [2, 2])


@READERS
def test_arrays_survive(write: Callable[[Tensors], bytes], read: Callable[[bytes], Tensors]) -> None:
    again = read(write(SAMPLE))
    assert again.keys() == SAMPLE.keys()
    for name, array in SAMPLE.items():
        assert again[name].dtype == array.dtype
        assert again[name].shape == array.shape
        np.testing.assert_array_equal(again[name], array)


def test_npz_is_numpys_own() -> None:
    with np.load(io.BytesIO(to_npz(SAMPLE))) as archive:
        np.testing.assert_array_equal(archive["mel"], SAMPLE["mel"])
    buffer = io.BytesIO()
    np.savez_compressed(buffer, mel=SAMPLE["mel"])
    np.testing.assert_array_equal(from_npz(buffer.getvalue())["mel"], SAMPLE["mel"])


@READERS
def test_every_truncation_is_refused(write: Callable[[Tensors], bytes], read: Callable[[bytes], Tensors]) -> None:
    data = write({"tokens": SAMPLE["tokens"]})
    for length in range(len(data)):
        with pytest.raises(MalformedInput):
            read(data[:length])


@READERS
@settings(deadline=None)
@given(position=st.integers(min_value=0), value=st.integers(0, 255))
def test_a_changed_byte_is_read_or_refused_and_never_raises_anything_else(
    write: Callable[[Tensors], bytes], read: Callable[[bytes], Tensors], position: int, value: int
) -> None:
    data = bytearray(write({"tokens": SAMPLE["tokens"]}))
    data[position % len(data)] = value
    with contextlib.suppress(MalformedInput, PayloadTooLarge):
        read(bytes(data))


@READERS
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_noise_is_refused(write: Callable[[Tensors], bytes], read: Callable[[bytes], Tensors], data: bytes) -> None:
    with pytest.raises(MalformedInput):
        read(data)


def test_pickled_objects_are_refused_unread() -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (pytest.fail, ("the archive was unpickled",))

    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("bomb.npy", buffer.getvalue() + pickle.dumps(Bomb()))
    with pytest.raises(MalformedInput):
        from_npz(archive.getvalue())


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_unpacked() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, zeros=np.zeros(10_000_000, np.uint8))
    assert len(buffer.getvalue()) < 20_000
    with pytest.raises(PayloadTooLarge):
        from_npz(buffer.getvalue(), max_bytes=1_000_000)


def test_a_header_that_claims_more_than_there_is_allocates_nothing() -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (1 << 60,)})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as out:
        out.writestr("huge.npy", buffer.getvalue())
    with pytest.raises(MalformedInput):
        from_npz(archive.getvalue())
