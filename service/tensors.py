"""Named arrays: how they are stacked into a batch, split again, and written as npz or safetensors bytes.

Reading never unpickles, and allocates no more than the bytes that were sent (npz: than `max_bytes`).
"""

import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from service.errors import MalformedInput, PayloadTooLarge

Tensors = dict[str, NDArray[Any]]


def stack(parts: Sequence[Tensors]) -> Tensors:
    """Concatenates along axis 0; all parts have the same names, and the same shapes beyond axis 0."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def split(tensors: Tensors, sizes: Sequence[int]) -> list[Tensors]:
    """The inverse of `stack`: views of `sizes[i]` rows each.

    Raises ValueError if an array does not have sum(sizes) rows.
    """
    total = sum(sizes)
    for name, array in tensors.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise ValueError(f"{name!r} has shape {list(array.shape)}, not {total} rows")
    stops = np.cumsum(sizes).tolist()
    return [
        {name: array[stop - size : stop] for name, array in tensors.items()}
        for size, stop in zip(sizes, stops, strict=True)
    ]


# zipfile passes on what its decompressors raise
_UNREADABLE = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(ValueError, EOFError, OSError, RuntimeError, SyntaxError, TypeError),
)


def to_npz(tensors: Tensors) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # np.savez takes no name that is also one of its parameters
        for name, array in tensors.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


def from_npz(data: bytes, *, max_bytes: int = 1 << 30) -> Tensors:
    """Raises MalformedInput, and PayloadTooLarge where the archive unpacks to more than `max_bytes`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > max_bytes:
                raise PayloadTooLarge(f"the npz archive unpacks to more than {max_bytes} bytes")
            # a read stops at the member's declared size, so the sum above is a true bound
            return {member.filename.removesuffix(".npy"): _from_npy(archive.read(member)) for member in members}
    except _UNREADABLE as exc:
        raise MalformedInput("the body is not a readable npz archive of plain arrays") from exc


def _from_npy(data: bytes) -> NDArray[Any]:
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    if dtype.hasobject:
        raise ValueError("an array of objects")
    # the header's claim is checked against the bytes before anything is allocated
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran_order else "C")


def to_safetensors(tensors: Tensors) -> bytes:
    return safetensors.numpy.save({name: np.asarray(array, order="C") for name, array in tensors.items()})


def from_safetensors(data: bytes) -> Tensors:
    """Raises MalformedInput, also for types that numpy lacks (bfloat16, float8)."""
    try:
        return safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as exc:
        raise MalformedInput("the body is not a readable safetensors file") from exc
