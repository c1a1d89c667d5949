"""A served graph as TorchScript, for Triton's `pytorch` backend."""

import warnings
from pathlib import Path
from typing import Any

import torch

from export.contract import Arrays, ModelConfig, signature
from export.entries import Named, ServedGraph
from export.errors import ExportError

FILENAME = "model.pt"
CONFIG = "configs/torchscript.pbtxt"


def build(graph: ServedGraph, example: Named, about: dict[str, str], path: Path) -> None:
    """Trace, freeze and write; `about` becomes extra files of the archive."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that it reads; the proof is at other shapes
        traced = torch.jit.trace(graph, example_kwarg_inputs=example, check_trace=False)
        frozen = torch.jit.freeze(traced)
        _follow_input_device(frozen.graph)
        torch.jit.save(frozen, path, _extra_files={name: value.encode() for name, value in about.items()})


def check(path: Path, config: ModelConfig) -> None:
    """The arguments must be the inputs of config.pbtxt, the answers as many as its outputs. Raises ExportError.

    TorchScript states neither dtypes nor dims, and names no output: answers are checked when they are proven.
    """
    schema = _load(path).forward.schema
    arguments = {argument.name for argument in schema.arguments} - {"self"}
    promised = signature(config)
    returned = schema.returns[0].type
    answers = [kind.kind() for kind in (returned.elements() if returned.kind() == "TupleType" else [returned])]
    if arguments != promised.inputs.keys() or answers != ["TensorType"] * len(promised.outputs):
        raise ExportError(f"{config.name} breaks its configuration: {schema}, promised {promised}")


class Runner:
    """The file as a server runs it: outputs in the order of the configuration, which names them."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        self._module = _load(path)
        self._names = [output.name for output in config.output]

    def __call__(self, inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            answer = self._module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        values = answer if isinstance(answer, tuple) else (answer,)
        return {name: value.numpy() for name, value in zip(self._names, values, strict=True)}


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export; Triton's backend reads this
        return torch.jit.load(path, map_location="cpu")


def _follow_input_device(graph: Any) -> None:
    """Create tensors where the inputs are: tracing wrote this machine's device into the graph."""
    first_input = list(graph.inputs())[1]  # after self
    device = graph.create("prim::device", [first_input], 1)
    device.output().setType(torch._C.DeviceObjType.get())
    graph.prependNode(device)
    for node in list(graph.nodes()):
        if node.kind() == "prim::Constant" and node.output().type().kind() == "DeviceObjType":
            node.output().replaceAllUsesWith(device.output())
    graph.lint()
