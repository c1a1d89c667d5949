"""Pictures as they arrive to the pixels that a view model sees, the way VGGT loads them.

The bytes decide what the format is. The size is read from the header and checked before anything is allocated, and a
picture is decoded, resized and let go before the next one is opened.

| outcome | when |
|---|---|
| UnsupportedMedia 415 | the bytes are no JPEG, PNG or WebP |
| MalformedInput 400 | the format is known and the bytes are damaged or cut short |
| InvalidInput 422 | empty, animated, CMYK, smaller than one patch, or more than MAX_ASPECT times as long as wide |
| PayloadTooLarge 413 | more pixels, or more bytes, than the limits |
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from service.errors import InvalidInput, MalformedInput, PayloadTooLarge, UnsupportedMedia

FORMATS = ("image/jpeg", "image/png", "image/webp")
MAX_ASPECT = 10  # longer side over shorter side
MAX_JPEG_SCANS = 128  # encoders write about ten; each costs a pass over the whole picture

WHITE = 255
_DRAFT = 3  # a JPEG is decoded at a reduced size that is still so many times what is needed
_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = (5, 6, 7, 8)


@dataclass(frozen=True, eq=False)
class View:
    """One picture, resized and cropped. pixels uint8 [H, W, 3] RGB.

    original_from_model [3, 3] takes homogeneous pixel coordinates (x, y, 1) of `pixels` to those of the picture as it
    was sent, turned upright by its EXIF orientation. Coordinates run along the edges: the centre of the first pixel is
    (0.5, 0.5). original_size is the width and height of the upright picture.
    """

    pixels: NDArray[np.uint8]
    original_from_model: NDArray[np.float64]
    original_size: tuple[int, int]


@dataclass(frozen=True, eq=False)
class Views:
    """Views of one shape: images uint8 [S, H, W, 3], original_from_model [S, 3, 3], original_size [S, 2].

    rows [S, 2]: the first row of each image that shows the picture, and the one behind the last; the rest is padding.
    """

    images: NDArray[np.uint8]
    original_from_model: NDArray[np.float64]
    original_size: NDArray[np.int64]
    rows: NDArray[np.int64]

    def inside(self) -> NDArray[np.bool_]:
        """[S, H, W]: which pixels are the pictures' own."""
        height, width = self.images.shape[1:3]
        row = np.arange(height)
        shown = (row >= self.rows[:, :1]) & (row < self.rows[:, 1:])
        return np.repeat(shown[:, :, None], width, axis=2)


def read_view(file: IO[bytes], *, image_size: int, patch_size: int, max_pixels: int, max_bytes: int) -> View:
    """Decodes one picture from a seekable file; transparent parts are white.

    As in VGGT's "crop" mode the width becomes `image_size`, the height follows, rounded to whole patches, and of a
    picture that is then higher than wide the middle is kept. Raises what the table above says.
    """
    size = file.seek(0, 2)
    if not size:
        raise InvalidInput("the picture is empty")
    if size > max_bytes:
        raise PayloadTooLarge(f"the picture has {size} bytes; accepted are up to {max_bytes}")
    with _translated():
        image = _open(file, max_pixels)
        turn = _orientation(image.info.get("exif", b""))
        width, height = image.size[::-1] if turn in _SIDEWAYS else image.size
        scaled = _check_shape(width, height, image_size, patch_size)
        target = (scaled, image_size) if turn in _SIDEWAYS else (image_size, scaled)
        resized = _resized(image, target)
    if turn in _UPRIGHT:
        resized = resized.transpose(_UPRIGHT[turn])
    top = max(0, scaled - image_size) // 2
    pixels = np.asarray(resized, np.uint8)[top : top + image_size]
    return View(pixels, _mapping(width / image_size, height / scaled, top), (width, height))


def stack_views(views: Sequence[View]) -> Views:
    """Views of one width to arrays; as VGGT does, lower ones get white rows above and below."""
    height, width = max(len(view.pixels) for view in views), views[0].pixels.shape[1]
    images = np.full((len(views), height, width, 3), WHITE, np.uint8)
    mappings, rows = [], []
    for image, view in zip(images, views, strict=True):
        own = len(view.pixels)
        top = (height - own) // 2
        image[top : top + own] = view.pixels
        rows.append((top, top + own))
        mappings.append(view.original_from_model @ _mapping(1, 1, -top))
    sizes = np.array([view.original_size for view in views], np.int64)
    return Views(images, np.stack(mappings), sizes, np.array(rows, np.int64))


def _mapping(across: float, down: float, top: int) -> NDArray[np.float64]:
    return np.array([[across, 0, 0], [0, down, down * top], [0, 0, 1]], np.float64)


def _check_shape(width: int, height: int, image_size: int, patch_size: int) -> int:
    """The height that belongs to a width of `image_size`. Raises InvalidInput."""
    if min(width, height) < patch_size:
        raise InvalidInput(f"the picture is {width} x {height} pixels; accepted are sides from {patch_size} pixels")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise InvalidInput(
            f"the picture is {width} x {height} pixels; accepted are pictures up to {MAX_ASPECT} times as long as wide"
        )
    return round(height * (image_size / width) / patch_size) * patch_size


def _open(file: IO[bytes], max_pixels: int) -> ImageFile:
    """Reads the header. Pillow's own classes are asked directly: which format it is, is known, and limits are ours."""
    file.seek(0)
    head = file.read(32)
    file.seek(0)
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        _check_pixels(*_png_size(head), max_pixels)
        image: ImageFile = PngImageFile(file)
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        _check_pixels(*_webp_size(head), max_pixels)
        image = WebPImageFile(file)
    elif head[:3] == b"\xff\xd8\xff":
        _check_scans(file)
        image = JpegImageFile(file)
        if image.mode == "CMYK":
            raise InvalidInput("the picture is CMYK, made for print; send RGB or grey")
    else:
        raise UnsupportedMedia("the bytes are no picture format that is read here: JPEG, PNG or WebP")
    _check_pixels(*image.size, max_pixels)
    if getattr(image, "is_animated", False):
        raise InvalidInput("the picture is animated; send one frame of it")
    return image


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PayloadTooLarge(f"the picture is {width} x {height} pixels; accepted are up to {max_pixels} pixels")


def _check_scans(file: IO[bytes]) -> None:
    """Raises InvalidInput for a JPEG of very many scans: a megabyte of them would keep a core busy for minutes."""
    scans, last = 0, b""
    while chunk := file.read(1 << 18):
        scans += (last + chunk).count(b"\xff\xda")
        last = chunk[-1:]
    file.seek(0)
    if scans > MAX_JPEG_SCANS:
        raise InvalidInput(f"the JPEG has {scans} scans; accepted are up to {MAX_JPEG_SCANS}")


def _png_size(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height that the first chunk declares: the decoder would allocate them at once."""
    if head[12:16] == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(head[26:28], "little") & 0x3FFF, int.from_bytes(head[28:30], "little") & 0x3FFF


def _orientation(exif: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 (upright) where there is none or the bytes make no sense."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (start,) = struct.unpack_from(f"{order}I", tiff, 4)
    if start + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(f"{order}H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, value = struct.unpack_from(f"{order}H6xH", tiff, entry)
        if tag == _EXIF_ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return 1


def _resized(image: ImageFile, size: tuple[int, int]) -> Image.Image:
    """Decodes, and resizes to `size` in RGB: bicubic, on white."""
    box = (0.0, 0.0, float(image.width), float(image.height))
    if draft := image.draft(None, (_DRAFT * size[0], _DRAFT * size[1])):
        box = draft[1]
    image.load()
    bands: Sequence[Image.Image]
    if image.has_transparency_data:
        picture = image if image.mode == "RGBA" else image.convert("RGBA")
        # in place, and then a band at a time: a copy would be as large as the picture
        picture.paste((WHITE, WHITE, WHITE), mask=ImageChops.invert(picture.getchannel("A")))
        bands = [picture.getchannel(name).resize(size, Image.Resampling.BICUBIC, box) for name in "RGB"]
        return Image.merge("RGB", bands)
    if image.mode.startswith("I"):  # 16 bits of grey
        grey = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        return grey.resize(size, Image.Resampling.BICUBIC, box).convert("RGB")
    # Pillow interpolates neither palettes nor bits
    picture = image if image.mode in ("L", "RGB") else image.convert("RGB")
    return picture.resize(size, Image.Resampling.BICUBIC, box).convert("RGB")


@contextmanager
def _translated() -> Iterator[None]:
    """Raises MalformedInput for whatever Pillow raises on damaged bytes."""
    failures: Any = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error)
    try:
        yield
    except failures as exc:
        raise MalformedInput("the picture is damaged or cut short") from exc
