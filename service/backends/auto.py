"""Picks the backend: a Triton server where one is named, else ONNX Runtime in this process."""

from typing import Literal

from service.backends.base import Backend, Observer
from service.settings import Settings


def kind(settings: Settings) -> Literal["embedded", "triton"]:
    """What `create` makes of these settings."""
    return "triton" if settings.triton_url else "embedded"


def create(settings: Settings, observer: Observer | None = None) -> Backend:
    """Raises RepositoryError if the local repository has a config.pbtxt that cannot be honoured."""
    if settings.triton_url:
        from service.backends.triton import Triton

        return Triton(settings.triton_url.split(","), observer=observer)

    from service.backends.embedded import Embedded
    from service.repository import load

    return Embedded(load(settings.model_repository), intra_op_threads=settings.intra_op_threads, observer=observer)
