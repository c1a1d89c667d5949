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


def nominal_s(upload: Upload | None, longest_s: float) -> float:
    """Seconds; a request without a body costs next to nothing. `longest_s`: of audio that is accepted."""
    if upload is None:
        return _PER_REQUEST_S
    media_type = upload.content_type.partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        return _PER_REQUEST_S + _PER_MEGAPIXEL_S * upload.size / _BYTES_PER_MEGAPIXEL
    if media_type == "application/json" or media_type.startswith("text/"):
        return _PER_REQUEST_S + _PER_TOKEN_S * upload.size / _BYTES_PER_TOKEN
    return _PER_REQUEST_S + _PER_AUDIO_S * min(audio_s(upload), longest_s)


def audio_s(upload: Upload) -> float:
    """The length of a recording: exact for WAV and FLAC by what decoders read, else what is usual for so many bytes."""
    if upload.content_type.lower().startswith(("audio/l16", "audio/pcm")):
        return upload.size / _PCM_BYTES_PER_S
    head = upload.file.read(36)
    upload.file.seek(0)
    if head[:4] == b"RIFF" and head[12:16] == b"fmt ":
        rate, frame = int.from_bytes(head[24:28], "little"), int.from_bytes(head[32:34], "little")
        return upload.size / max(rate * frame, _COMPRESSED_BYTES_PER_S)
    if head[:4] == b"fLaC" and len(head) >= 26:
        packed = int.from_bytes(head[18:26])  # sample rate: 20 bits, channels: 3, sample size: 5, samples: 36
        rate, samples = packed >> 44, packed & ((1 << 36) - 1)
        if rate and samples:
            return samples / rate
    return upload.size / _COMPRESSED_BYTES_PER_S
