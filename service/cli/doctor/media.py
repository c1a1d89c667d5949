"""The decoders: a sound and a picture of each kind are written, and read as a client's would be."""

import io
from collections.abc import Iterator
from typing import get_args

import av
import numpy as np
from PIL import Image

from service.cli.doctor.finding import Finding
from service.errors import ServiceError
from service.media.decoders import Decoders
from service.media.encode import AudioWriter, Format
from service.settings import Settings

_RATE, _SAMPLES = 16_000, 8000
_CODECS = ("aac", "mp3", "opus", "vorbis", "alac")  # that are read and not written
_PICTURES = ("JPEG", "PNG", "WEBP")
_REINSTALL = "pip install --force-reinstall av pillow"


def check(settings: Settings) -> Iterator[Finding]:
    decoders = Decoders(1, settings.decode_memory_bytes, settings.decode_cpu_s)
    try:
        for name in get_args(Format):
            yield from _sound(decoders, name)
        for name in _PICTURES:
            yield from _picture(decoders, name)
    finally:
        decoders.close()
    if absent := [codec for codec in _CODECS if codec not in av.codecs_available]:
        yield Finding("warning", "decoders", f"this FFmpeg has no {', '.join(absent)}", _REINSTALL)
    yield Finding("ok", "decoders", f"FFmpeg {'.'.join(map(str, av.library_versions['libavcodec']))}, Pillow")


def _sound(decoders: Decoders, name: Format) -> Iterator[Finding]:
    file = io.BytesIO()
    writer = AudioWriter(file, name, _RATE, 1)
    writer.write(np.zeros((1, _SAMPLES), np.float32))
    writer.close()
    file.seek(0)
    try:
        with decoders.open_audio(file, None, max_audio_s=60) as audio:
            samples = sum(block.shape[-1] for block in audio.blocks())
    except ServiceError as exc:
        yield Finding("error", f"decoder of {name}", str(exc), _REINSTALL)
    else:
        if not samples:
            yield Finding("error", f"decoder of {name}", "no sound came out", _REINSTALL)


def _picture(decoders: Decoders, name: str) -> Iterator[Finding]:
    file = io.BytesIO()
    Image.new("RGB", (320, 240), "grey").save(file, name)
    file.seek(0)
    try:
        decoders.read_view(file, image_size=224, patch_size=14, max_pixels=1 << 20, max_bytes=1 << 20)
    except ServiceError as exc:
        yield Finding("error", f"decoder of {name}", str(exc), _REINSTALL)
