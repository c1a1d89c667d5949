"""What a package under `service.models` declares about itself, and which models it can be served with."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import BaseModel, Field

from service.backends.base import Inference
from service.errors import BackendUnavailable, ModelNotFound
from service.repository import ModelConfig
from service.settings import Settings

Models = Mapping[str, ModelConfig]


class Tensor(BaseModel):
    """One input or output of a model."""

    name: str
    dtype: str = Field(examples=["float32"])
    dims: list[int] = Field(description="Without the batch axis; -1 is any length.", examples=[[-1, 128]])


class ServedModel(BaseModel):
    """An entry of the model repository."""

    name: str = Field(examples=["tokenizer_encoder"])
    versions: list[int] = Field(description="Empty where a Triton server chooses the version.")
    max_batch_size: int
    inputs: list[Tensor]
    outputs: list[Tensor]

    @classmethod
    def of(cls, config: ModelConfig) -> "ServedModel":
        inputs, outputs = (
            [Tensor(name=spec.name, dtype=spec.dtype.name, dims=list(spec.dims)) for spec in specs]
            for specs in (config.inputs, config.outputs)
        )
        return cls(
            name=config.name,
            versions=list(config.versions),
            max_batch_size=config.max_batch_size,
            inputs=inputs,
            outputs=outputs,
        )


class Description(BaseModel):
    """What `GET /v1/models/{name}` says about any capability; each adds its own rates and limits."""

    name: str = Field(examples=["tokenizer"])
    summary: str
    models: list[ServedModel] = Field(description="The models of the repository that it runs on.")


@dataclass(frozen=True)
class Capability:
    """A group of routes and the models that they need. `describe` is called only when the required models are there."""

    name: str
    summary: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    router: APIRouter
    description: type[Description]
    describe: Callable[[Models, Settings], Description]

    def missing(self, models: Models) -> list[str]:
        """The required models that `models` lacks."""
        return [name for name in self.required if not built(models, name)]

    async def check(self, backend: Inference) -> None:
        """Raises ModelNotFound while a required model is missing; BackendUnavailable while no model at all is known."""
        if self.missing(backend.models):  # a remote server may have come up, or been given the model, since
            await asyncio.gather(*(backend.ready(model) for model in (*self.required, *self.optional)))
        if missing := self.missing(backend.models):
            if not backend.models:
                raise BackendUnavailable("No model is known: the repository is empty or not reached yet.")
            raise ModelNotFound(f"The model repository has no {' and no '.join(missing)}, which {self.name} needs.")


def built(models: Models, name: str) -> bool:
    """Whether `name` can be run: a configuration alone, whose graph was not exported yet, cannot."""
    config = models.get(name)
    return config is not None and (config.path is None or bool(config.versions))
