"""Picks the backend: a Triton server where one is named, else ONNX Runtime in this process."""

from functools import partial
from typing import Literal

from service.backends.base import Backend, Observer
from service.settings import Settings


def kind(settings: Settings) -> Literal["embedded", "triton"]:
    """What `create` makes of these settings."""
    return "triton" if settings.triton_url else "embedded"


def create(settings: Settings, observer: Observer | None = None) -> Backend:
    """Raises RepositoryError if the local repository has a config.pbtxt that cannot be honoured."""
    if settings.triton_url:
        from service.backends.triton.backend import Triton
        from service.backends.triton.channel import credentials

        tls = settings.triton_tls_ca and credentials(
            settings.triton_tls_ca, settings.triton_tls_certificate, settings.triton_tls_key
        )
        addresses = settings.triton_url.split(",")
        return Triton(
            addresses,
            tls=tls,
            poll_s=settings.model_poll_s,
            shared_memory=settings.triton_shared_memory,
            observer=observer,
        )

    from service.backends.embedded.backend import Embedded
    from service.repository import load

    look = partial(load, settings.model_repository)
    return Embedded(
        look(),
        look=look,
        poll_s=settings.model_poll_s,
        intra_op_threads=settings.intra_op_threads,
        observer=observer,
    )
