"""A model repository: each folder's config.pbtxt, parsed with NVIDIA's own schema, as frozen dataclasses.

Only what the gateway and its embedded backend use is kept; what they cannot honour is refused here, by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

DTYPES: Mapping[int, np.dtype[Any]] = {
    pb.TYPE_BOOL: np.dtype(np.bool_),
    pb.TYPE_UINT8: np.dtype(np.uint8),
    pb.TYPE_UINT16: np.dtype(np.uint16),
    pb.TYPE_UINT32: np.dtype(np.uint32),
    pb.TYPE_UINT64: np.dtype(np.uint64),
    pb.TYPE_INT8: np.dtype(np.int8),
    pb.TYPE_INT16: np.dtype(np.int16),
    pb.TYPE_INT32: np.dtype(np.int32),
    pb.TYPE_INT64: np.dtype(np.int64),
    pb.TYPE_FP16: np.dtype(np.float16),
    pb.TYPE_FP32: np.dtype(np.float32),
    pb.TYPE_FP64: np.dtype(np.float64),
}


class RepositoryError(Exception):
    """A config.pbtxt that cannot be served; the text names the file or model, for the operator."""


@dataclass(frozen=True)
class TensorSpec:
    name: str
    dtype: np.dtype[Any]
    dims: tuple[int, ...]  # without the batch axis; -1 is any length


@dataclass(frozen=True)
class Batching:
    """dynamic_batching, or what Triton does without it: requests run one by one."""

    enabled: bool = False
    max_queue_delay_s: float = 0.0
    preferred_sizes: tuple[int, ...] = ()
    max_queue_size: int = 0  # requests; 0 is no limit of the model's own
    queue_timeout_s: float | None = None  # None: a request waits as long as its own deadline allows


@dataclass(frozen=True)
class Warmup:
    """A request that is run `count` times before the model counts as ready."""

    name: str
    batch_size: int
    count: int
    inputs: tuple[TensorSpec, ...]
    random: frozenset[str]  # names of inputs filled with noise; the others are zeros


@dataclass(frozen=True)
class ModelConfig:
    name: str
    backend: str
    max_batch_size: int  # 0: tensors carry no batch axis
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    path: Path | None = None  # None: the configuration came from a server
    versions: tuple[int, ...] = ()  # on disk and allowed by version_policy, ascending
    filename: str = "model.onnx"
    parameters: Mapping[str, str] = field(default_factory=dict)
    batching: Batching = Batching()
    instances: int = 1
    warmup: tuple[Warmup, ...] = ()

    @property
    def version(self) -> int | None:
        """The one that is served; None where none was built."""
        return self.versions[-1] if self.versions else None

    @property
    def file(self) -> Path | None:
        """The graph of that version; None where there is none, or a server has it."""
        return self.path / str(self.version) / self.filename if self.path and self.versions else None


def load(path: Path) -> dict[str, ModelConfig]:
    """Every `<path>/<model>/config.pbtxt`, by model name.

    A model whose version folders have not been built yet is included, with `versions == ()`.
    Raises RepositoryError where a file does not parse or cannot be honoured.
    """
    return {config.name: config for file in sorted(path.glob("*/config.pbtxt")) for config in [_load_model(file)]}


def _load_model(file: Path) -> ModelConfig:
    folder = file.parent
    try:
        proto = text_format.Parse(file.read_text(encoding="utf-8"), pb.ModelConfig())
    except (text_format.ParseError, UnicodeDecodeError) as exc:
        raise RepositoryError(f"{file}: {exc}") from exc
    if proto.name not in ("", folder.name):
        raise RepositoryError(f"{file}: the name {proto.name!r} is not that of its folder, {folder.name!r}")
    proto.name = folder.name
    on_disk = sorted(
        int(child.name)
        for child in folder.iterdir()
        if child.is_dir() and child.name.isdecimal() and not child.name.startswith("0")
    )
    return from_proto(proto, path=folder, versions=on_disk)


def from_proto(proto: pb.ModelConfig, *, path: Path | None = None, versions: list[int] | None = None) -> ModelConfig:
    """Raises RepositoryError for what neither backend could serve through `infer`."""
    for unsupported in ("sequence_batching",):
        if proto.HasField(unsupported):
            raise RepositoryError(f"model {proto.name!r}: {unsupported} is not supported")
    if proto.model_transaction_policy.decoupled:
        raise RepositoryError(f"model {proto.name!r}: decoupled models are not supported")
    if proto.max_batch_size < 0 or not proto.input or not proto.output:
        raise RepositoryError(f"model {proto.name!r}: needs max_batch_size >= 0, input and output")
    return ModelConfig(
        name=proto.name,
        backend=proto.backend or proto.platform.partition("_")[0],
        max_batch_size=proto.max_batch_size,
        inputs=tuple(_tensor(proto.name, spec) for spec in proto.input),
        outputs=tuple(_tensor(proto.name, spec) for spec in proto.output),
        path=path,
        versions=_allowed(proto.version_policy, versions or []),
        filename=proto.default_model_filename or "model.onnx",
        parameters=MappingProxyType({key: value.string_value for key, value in sorted(proto.parameters.items())}),
        batching=_batching(proto),
        instances=max(1, sum(group.count for group in proto.instance_group)),
        warmup=tuple(_warmup(proto.name, sample) for sample in proto.model_warmup),
    )


def _tensor(model: str, spec: pb.ModelInput | pb.ModelOutput) -> TensorSpec:
    if spec.HasField("reshape") or spec.data_type not in DTYPES:
        what = "reshape" if spec.HasField("reshape") else pb.DataType.Name(spec.data_type)
        raise RepositoryError(f"model {model!r}: {what} of tensor {spec.name!r} is not supported")
    return TensorSpec(spec.name, DTYPES[spec.data_type], tuple(spec.dims))


def _batching(proto: pb.ModelConfig) -> Batching:
    if not proto.HasField("dynamic_batching"):
        return Batching()
    dynamic = proto.dynamic_batching
    policy = dynamic.default_queue_policy
    # DELAY lets a late request wait on behind the others, which is what having no timeout does here
    rejects = policy.timeout_action == pb.ModelQueuePolicy.REJECT and policy.default_timeout_microseconds > 0
    return Batching(
        enabled=True,
        max_queue_delay_s=dynamic.max_queue_delay_microseconds / 1e6,
        preferred_sizes=tuple(sorted(dynamic.preferred_batch_size)),
        max_queue_size=policy.max_queue_size,
        queue_timeout_s=policy.default_timeout_microseconds / 1e6 if rejects else None,
    )


def _warmup(model: str, sample: pb.ModelWarmup) -> Warmup:
    for name, spec in sample.inputs.items():
        if spec.data_type not in DTYPES or spec.HasField("input_data_file"):
            raise RepositoryError(f"model {model!r}: warm-up input {name!r} needs zero_data or random_data of a number")
    return Warmup(
        name=sample.name,
        batch_size=max(1, sample.batch_size),
        count=max(1, sample.count),
        inputs=tuple(
            TensorSpec(name, DTYPES[spec.data_type], tuple(spec.dims)) for name, spec in sorted(sample.inputs.items())
        ),
        random=frozenset(name for name, spec in sample.inputs.items() if spec.random_data),
    )


def _allowed(policy: pb.ModelVersionPolicy, versions: list[int]) -> tuple[int, ...]:
    match policy.WhichOneof("policy_choice"):
        case "all":
            return tuple(versions)
        case "specific":
            return tuple(version for version in versions if version in policy.specific.versions)
        case _:  # Triton's default is the latest one
            return tuple(versions[-(policy.latest.num_versions or 1) :])
