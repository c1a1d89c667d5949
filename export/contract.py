"""config.pbtxt against an exported file: names, dtypes, dims and parameters. The file is the contract, nothing edits it
but the values that the weights own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from numpy.typing import NDArray
from tritonclient.grpc import model_config_pb2

from export.errors import ExportError

Arrays = dict[str, NDArray[Any]]
ModelConfig = Any  # a generated protobuf class without type information

DTYPES: dict[str, np.dtype[Any]] = {
    "TYPE_BOOL": np.dtype(np.bool_),
    "TYPE_UINT8": np.dtype(np.uint8),
    "TYPE_INT32": np.dtype(np.int32),
    "TYPE_INT64": np.dtype(np.int64),
    "TYPE_FP16": np.dtype(np.float16),
    "TYPE_FP32": np.dtype(np.float32),
}


@dataclass(frozen=True)
class Tensor:
    """A tensor of the contract; -1 in `dims` is free. The batch axis is dims[0]."""

    dtype: np.dtype[Any]
    dims: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.dims)}"

    def accepts(self, array: NDArray[Any]) -> bool:
        return (
            array.dtype == self.dtype
            and array.ndim == len(self.dims)
            and all(dim in (-1, size) for dim, size in zip(self.dims, array.shape, strict=True))
        )


@dataclass(frozen=True)
class Signature:
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]


def read_config(path: Path) -> ModelConfig:
    """Raises ExportError when the file is missing or not in NVIDIA's schema."""
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExportError(f"no contract to export against: cannot read {path}: {error.strerror}") from error
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error


def parse_config(text: str) -> ModelConfig:
    try:
        return text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ExportError(f"not a model configuration: {error}") from error


def parameters(config: ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def signature(config: ModelConfig) -> Signature:
    """What the configuration promises, with the batch axis in front."""
    batch = (-1,) if config.max_batch_size > 0 else ()

    def tensors(declared: Any) -> dict[str, Tensor]:
        types = {item.name: model_config_pb2.DataType.Name(item.data_type) for item in declared}
        unknown = {name: dtype for name, dtype in types.items() if dtype not in DTYPES}
        if unknown:
            raise ExportError(f"{config.name}: no export to {unknown}")
        return {item.name: Tensor(DTYPES[types[item.name]], (*batch, *item.dims)) for item in declared}

    return Signature(tensors(config.input), tensors(config.output))


def check_signature(config: ModelConfig, actual: Signature) -> None:
    """Raises ExportError that names every tensor which is not as the configuration says."""
    promised = signature(config)
    faults = [*_faults("input", promised.inputs, actual.inputs), *_faults("output", promised.outputs, actual.outputs)]
    if faults:
        raise ExportError(f"{config.name} breaks its config.pbtxt: {'; '.join(faults)}")


def _faults(side: str, promised: dict[str, Tensor], actual: dict[str, Tensor]) -> list[str]:
    return [
        f"{side} {name} is {actual.get(name, 'missing')}, promised {promised.get(name, 'nothing')}"
        for name in sorted(promised.keys() | actual.keys())
        if promised.get(name) != actual.get(name)
    ]


def check_answer(config: ModelConfig, answer: Arrays) -> None:
    """Raises ExportError when arrays that a file answered are not the promised outputs."""
    promised = signature(config).outputs
    if promised.keys() != answer.keys() or not all(promised[name].accepts(array) for name, array in answer.items()):
        actual = {name: f"{array.dtype} {list(array.shape)}" for name, array in answer.items()}
        expected = {name: str(tensor) for name, tensor in promised.items()}
        raise ExportError(f"{config.name} answers {actual}, promised {expected}")


def check_parameters(config: ModelConfig, owned: Mapping[str, str]) -> None:
    """Raises ExportError when a parameter that the weights own has another value in the configuration."""
    stated = parameters(config)
    faults = [
        f"{key} is {stated.get(key)}, the weights say {value}"
        for key, value in owned.items()
        if stated.get(key) != value
    ]
    if faults:
        raise ExportError(f"{config.name}'s config.pbtxt does not describe these weights: {'; '.join(faults)}")


def warmup_inputs(config: ModelConfig) -> list[Arrays]:
    """What a server runs before it says ready, one item of each sample; all of ours are zeros."""
    return [
        {
            name: np.zeros((1, *spec.dims), DTYPES[model_config_pb2.DataType.Name(spec.data_type)])
            for name, spec in sample.inputs.items()
        }
        for sample in config.model_warmup
    ]


def with_parameters(text: str, owned: Mapping[str, str]) -> str:
    """A config.pbtxt with the values of these parameters replaced and every other character as it was.

    Raises ExportError unless the text states each of them once.
    """
    for key, value in owned.items():
        pattern = rf'(key:\s*"{re.escape(key)}"\s*value\s*:?\s*{{\s*string_value:\s*")[^"]*(")'
        text, count = re.subn(pattern, rf"\g<1>{value}\g<2>", text)
        if count != 1:
            raise ExportError(f"config.pbtxt states the parameter {key} {count} times, not once")
    check_parameters(parse_config(text), owned)
    return text
