"""What a request may cost, by what is known before any of it is decoded: its size, its type, and its first bytes.

Only the proportions within one route matter: `service.web.admission` learns the rest.
"""

from service.web.body import Upload

_PER_REQUEST_S = 0.002
_PER_AUDIO_S = 0.01
_PER_MEGAPIXEL_S = 0.2
_PER_TOKEN_S = 0.0002

_COMPRESSED_BYTES_PER_S = 8_000  # 64 kbit/s
_PCM_BYTES_PER_S = 32_000  # 16 kHz, 16 bits
_BYTES_PER_MEGAPIXEL = 250_000  # of a JPEG from a phone
_BYTES_PER_TOKEN = 4


def nominal_s(upload: Upload | None) -> float:
    """Seconds; a request without a body costs next to nothing."""
    if upload is None:
        return _PER_REQUEST_S
    media_type = upload.content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return _PER_REQUEST_S + _PER_MEGAPIXEL_S * upload.size / _BYTES_PER_MEGAPIXEL
    if media_type == "application/json" or media_type.startswith("text/"):
        return _PER_REQUEST_S + _PER_TOKEN_S * upload.size / _BYTES_PER_TOKEN
    return _PER_REQUEST_S + _PER_AUDIO_S * audio_s(upload)


def audio_s(upload: Upload) -> float:
    """The length of a recording: exact for WAV and FLAC by their headers, else what is usual for so many bytes."""
    head = upload.file.read(32)
    upload.file.seek(0)
    if head[:4] == b"RIFF" and head[12:16] == b"fmt ":
        return upload.size / max(int.from_bytes(head[28:32], "little"), _COMPRESSED_BYTES_PER_S)
    if head[:4] == b"fLaC" and len(head) >= 26:
        packed = int.from_bytes(head[18:26])  # sample rate: 20 bits, channels: 3, sample size: 5, samples: 36
        rate, samples = packed >> 44, packed & ((1 << 36) - 1)
        if rate and samples:
            return samples / rate
    raw = upload.content_type.lower().startswith(("audio/l16", "audio/pcm"))
    return upload.size / (_PCM_BYTES_PER_S if raw else _COMPRESSED_BYTES_PER_S)
