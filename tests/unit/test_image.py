"""Pictures: pixel by pixel what VGGT sees, back to the original, and nothing that hurts."""

import io
import struct
import tracemalloc
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge, ServiceError, UnsupportedMedia
from service.media.image import View, read_view, stack_views

REFERENCE = load_file(Path(__file__).parents[1] / "data" / "vggt_loading.safetensors")
REFERENCE_STRIDE = 37


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Smooth enough that no format and no filter changes it much."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack([255 * x / width, 255 * y / height, 128 + 0 * x], axis=-1).astype(np.uint8)
    return Image.fromarray(rgb).convert(mode)


def encoded(image: Image.Image, image_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


def view(data: bytes, **limits: int) -> View:
    options = {"image_size": 56, "patch_size": 14, "max_pixels": 50_000_000, "max_bytes": 1 << 26} | limits
    return read_view(io.BytesIO(data), **options)


def png(width: int, height: int, colour_type: int = 2) -> bytes:
    """A PNG that claims a size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_pixels_are_those_of_vggt() -> None:
    names = ("land", "port_rgba", "wide")
    pictures = [encoded(Image.fromarray(REFERENCE[f"{name}.picture"])) for name in names]
    views = [view(data, image_size=518) for data in pictures]
    for name, seen in zip(names, views, strict=True):
        strided = seen.pixels[::REFERENCE_STRIDE, ::REFERENCE_STRIDE].astype(int)
        assert np.abs(strided - REFERENCE[f"{name}.pixels"]).max() <= 1, name
    together = stack_views(views)
    strided = together.images[:, ::REFERENCE_STRIDE, ::REFERENCE_STRIDE].astype(int)
    assert np.abs(strided - REFERENCE["together.pixels"]).max() <= 1


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (640, 480, (42, 56)),
        (480, 640, (56, 56)),
        (100, 100, (56, 56)),
        (800, 100, (14, 56)),
        (14, 14, (56, 56)),
        # 2.5 patches: Python rounds half to even
        (80, 50, (28, 56)),
        (80, 70, (56, 56)),
    ],
)
def test_width_is_fixed_and_height_follows_in_whole_patches(width: int, height: int, expected: tuple[int, int]) -> None:
    assert view(encoded(picture(width, height))).pixels.shape == (*expected, 3)


FORMATS: Mapping[str, tuple[str, str, dict[str, Any]]] = {
    "jpeg": ("RGB", "JPEG", {"quality": 95}),
    "progressive jpeg": ("RGB", "JPEG", {"quality": 95, "progressive": True}),
    "grey jpeg": ("L", "JPEG", {"quality": 95}),
    "png": ("RGB", "PNG", {}),
    "png with alpha": ("RGBA", "PNG", {}),
    "png of greys": ("L", "PNG", {}),
    "png with a palette": ("P", "PNG", {}),
    "lossy webp": ("RGB", "WEBP", {"quality": 95}),
    "lossless webp": ("RGB", "WEBP", {"lossless": True}),
    "webp with alpha": ("RGBA", "WEBP", {"lossless": True}),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_picture_is_read(name: str) -> None:
    mode, image_format, options = FORMATS[name]
    image = picture(200, 150)
    expected = view(encoded(image.convert("L") if mode == "L" else image)).pixels
    seen = view(encoded(image.convert(mode), image_format, **options)).pixels
    assert np.abs(seen.astype(int) - expected).mean() < (8 if mode == "P" else 2)


def test_sixteen_bits_of_grey_and_single_bits_are_read() -> None:
    ramp = np.linspace(0, 65535, 100 * 60).reshape(60, 100).astype(np.uint16)
    deep, shallow = view(encoded(Image.fromarray(ramp))).pixels, view(encoded(Image.fromarray(ramp >> 8).convert("L")))
    assert np.abs(deep.astype(int) - shallow.pixels).max() <= 1
    bits = view(encoded(picture(100, 60, "1"))).pixels
    assert bits.shape == (28, 56, 3)
    assert len(np.unique(bits)) > 2  # interpolated


def test_transparency_is_white() -> None:
    image = picture(mode="RGBA")
    image.putalpha(0)
    assert (view(encoded(image)).pixels == 255).all()
    image.putalpha(128)
    opaque = np.asarray(view(encoded(picture())).pixels, float)
    assert np.abs(view(encoded(image)).pixels - (opaque * 128 + 255 * 127) / 255).max() <= 2


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_picture_upright(orientation: int, image_format: str) -> None:
    upright = picture(120, 80)
    stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = upright.transpose(stored[orientation]) if orientation in stored else upright
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "A Camera", orientation
    seen = view(encoded(image, image_format, exif=exif))
    assert seen.original_size == (120, 80)
    assert np.abs(seen.pixels.astype(int) - view(encoded(upright)).pixels).mean() < 3


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"", b"II*\0", b"MM\0*\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff", b"?" * 40])
def test_exif_that_makes_no_sense_does_no_harm(exif: bytes) -> None:
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(view(data).pixels, view(encoded(picture(), "JPEG")).pixels)


def dot(width: int, height: int, x: int, y: int) -> Image.Image:
    """Black, with a white square of 9 x 9 around a pixel."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[y - 4 : y + 5, x - 4 : x + 5] = 255
    return Image.fromarray(pixels)


def centre(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Where the white is, as homogeneous coordinates along the edges of pixels."""
    weight = pixels[..., 0].astype(float)
    y, x = np.mgrid[0 : weight.shape[0], 0 : weight.shape[1]] + 0.5
    return np.array([(weight * x).sum(), (weight * y).sum(), weight.sum()]) / weight.sum()


@pytest.mark.parametrize("shape", [(640, 480), (480, 640), (1001, 333), (100, 100)])
@pytest.mark.parametrize("image_format", ["PNG", "JPEG"])
def test_a_pixel_is_found_again_in_the_original(shape: tuple[int, int], image_format: str) -> None:
    """Also after the crop, and after a JPEG's decoding at reduced size."""
    width, height = shape
    x, y = width // 3, height // 2 + 20
    seen = view(encoded(dot(width, height, x, y), image_format), image_size=112)
    found = seen.original_from_model @ centre(seen.pixels)
    np.testing.assert_allclose(found[:2], [x + 0.5, y + 0.5], atol=0.5)


def test_a_pixel_is_found_again_after_padding() -> None:
    views = [view(encoded(picture(50, 50))), view(encoded(dot(400, 200, 100, 120)))]
    together = stack_views(views)
    assert together.images.shape == (2, 56, 56, 3)
    assert together.rows.tolist() == [[0, 56], [14, 42]]
    assert (together.images[1, :14] == 255).all()
    assert together.inside().sum(axis=(1, 2)).tolist() == [56 * 56, 28 * 56]
    inner = np.where(together.inside()[1, ..., None], together.images[1], 0)
    found = together.original_from_model[1] @ centre(inner)
    np.testing.assert_allclose(found[:2], [100.5, 120.5], atol=0.7)
    assert together.original_size.tolist() == [[50, 50], [400, 200]]


JPEG = encoded(picture(200, 150), "JPEG")
PNG = encoded(picture(200, 150))
WEBP = encoded(picture(200, 150), "WEBP")
ANIMATION = {"save_all": True, "append_images": [picture(200, 150).rotate(90)]}

REFUSED: Mapping[str, tuple[bytes, type[ServiceError], str]] = {
    "nothing": (b"", InvalidInput, "empty"),
    "text": (b"hello, I am a picture", UnsupportedMedia, "JPEG, PNG or WebP"),
    "gif": (encoded(picture(), "GIF"), UnsupportedMedia, "JPEG, PNG or WebP"),
    "tiff": (encoded(picture(), "TIFF"), UnsupportedMedia, "JPEG, PNG or WebP"),
    "one pixel": (encoded(picture(1, 1)), InvalidInput, "1 x 1"),
    "less than a patch": (encoded(picture(200, 13)), InvalidInput, "from 14"),
    "a stripe": (encoded(picture(2000, 100)), InvalidInput, "10 times"),
    "an upright stripe": (encoded(picture(100, 2000)), InvalidInput, "10 times"),
    "CMYK": (encoded(picture(mode="CMYK"), "JPEG"), InvalidInput, "CMYK"),
    "an animated png": (encoded(picture(200, 150), **ANIMATION), InvalidInput, "animated"),
    "an animated webp": (encoded(picture(200, 150), "WEBP", **ANIMATION), InvalidInput, "animated"),
    "half a jpeg": (JPEG[: len(JPEG) // 2], MalformedInput, "cut short"),
    "half a png": (PNG[: len(PNG) // 2], MalformedInput, "cut short"),
    "half a webp": (WEBP[: len(WEBP) // 2], MalformedInput, "cut short"),
    "the beginning of a jpeg": (JPEG[:20], MalformedInput, "damaged"),
    "the beginning of a png": (PNG[:20], MalformedInput, "damaged"),
    "the beginning of a webp": (WEBP[:20], MalformedInput, "damaged"),
    "a png without pixels": (png(100, 100), MalformedInput, "damaged"),
    "a huge png": (png(30_000, 30_000), PayloadTooLarge, "30000 x 30000"),
    "a png of the largest size": (png(2**31 - 1, 2**31 - 1), PayloadTooLarge, "pixels"),
    "a jpeg of scan after scan": (JPEG[:-2] + b"\xff\xda" * 1000 + JPEG[-2:], InvalidInput, "scans"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_usable_picture_is_refused(name: str) -> None:
    data, error, words = REFUSED[name]
    with pytest.raises(error, match=words):
        view(data)


def huge_jpeg() -> bytes:
    header = bytearray(JPEG)
    frame = header.index(b"\xff\xc0")
    struct.pack_into(">HH", header, frame + 5, 30_000, 30_000)
    return bytes(header)


def huge_webp() -> bytes:
    header = bytearray(WEBP)
    struct.pack_into("<HH", header, 26, 16383, 16383)
    return bytes(header)


@pytest.mark.parametrize("data", [png(30_000, 30_000, 6), huge_jpeg(), huge_webp()], ids=["png", "jpeg", "webp"])
def test_a_size_beyond_the_limit_is_refused_by_the_header_alone(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(PayloadTooLarge, match="accepted are up to 50000000 pixels"):
            view(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="bytes"):
        view(PNG, max_bytes=len(PNG) - 1)
    view(PNG, max_bytes=len(PNG))


def test_a_large_jpeg_is_decoded_at_a_size_near_the_one_that_is_needed() -> None:
    """And looks the same: each of its pixels is still several of the file's."""
    image = picture(4000, 3000)
    small = view(encoded(image, "JPEG", quality=95)).pixels
    assert np.abs(small.astype(int) - view(encoded(image)).pixels).max() <= 4


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", FORMATS)
def test_damage_is_a_refusal_and_never_a_crash(name: str) -> None:
    mode, image_format, options = FORMATS[name]
    whole = encoded(picture(60, 45, mode), image_format, **options)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(150):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), rng.integers(1, 6)):
            data[position] = rng.integers(256)
        del data[rng.integers(len(data) // 2, 2 * len(data)) :]
        try:
            assert view(bytes(data)).pixels.shape[1:] == (56, 3)
        except ServiceError as error:
            outcomes.add(type(error))
    assert MalformedInput in outcomes
