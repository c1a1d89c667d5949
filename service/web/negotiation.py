"""Content negotiation: which of the offered media types a client accepts best (RFC 9110, 12.5.1)."""

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import Header, HTTPException


def negotiate(accept: str, offered: Sequence[str]) -> str | None:
    """The offered type with the highest quality, the first of equals; None if the client accepts none of them."""
    ranges = [parsed for item in accept.split(",") if (parsed := _parse(item))] or [("*/*", 1.0)]
    qualities = [_quality(media_type, ranges) for media_type in offered]
    best = max(qualities)
    return offered[qualities.index(best)] if best > 0 else None


def accepts(*offered: str) -> Callable[[str], str]:
    """Dependency: the media type to answer with. Raises 406 and lists what there is."""

    async def negotiated(accept: Annotated[str, Header(include_in_schema=False)] = "*/*") -> str:
        chosen = negotiate(accept, offered)
        if chosen is None:
            raise HTTPException(406, f"None of the accepted types is offered here. Offered: {', '.join(offered)}.")
        return chosen

    return negotiated  # type: ignore[return-value]


def _parse(item: str) -> tuple[str, float] | None:
    media_range, *parameters = (part.strip().lower() for part in item.split(";"))
    if "/" not in media_range:
        return None
    quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
    try:
        return media_range, min(max(float(quality), 0.0), 1.0)
    except ValueError:
        return media_range, 0.0


def _quality(media_type: str, ranges: Sequence[tuple[str, float]]) -> float:
    # The most specific range decides, whatever its quality: "audio/flac;q=0, audio/*" refuses flac.
    specificity = {media_type: 3, f"{media_type.split('/')[0]}/*": 2, "*/*": 1}
    matches = [(specificity[name], quality) for name, quality in ranges if name in specificity]
    return max(matches)[1] if matches else 0.0
