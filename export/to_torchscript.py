"""A served graph as TorchScript, for Triton's `pytorch` backend."""

import io
import warnings
from typing import Any

import torch

from export.contract import Arrays, ModelConfig, signature
from export.entries import Named, ServedGraph
from export.errors import ExportError

FILENAME = "model.pt"
CONFIG = "configs/torchscript.pbtxt"


def build(graph: ServedGraph, example: Named, about: dict[str, str]) -> bytes:
    """Trace, freeze and serialise; `about` becomes extra files of the archive."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of every shape that it reads; the proof is at other shapes
        traced = torch.jit.trace(graph, example_kwarg_inputs=example, check_trace=False)
        frozen = torch.jit.freeze(traced)
        _follow_input_device(frozen.graph)
        buffer = io.BytesIO()
        torch.jit.save(frozen, buffer, _extra_files={name: value.encode() for name, value in about.items()})
    return buffer.getvalue()


def check(content: bytes, config: ModelConfig) -> None:
    """The arguments must be the inputs of config.pbtxt. Raises ExportError.

    TorchScript states neither dtypes nor dims, and names no output: answers are checked when they are proven.
    """
    schema = _load(content).forward.schema
    arguments = {argument.name for argument in schema.arguments} - {"self"}
    promised = signature(config)
    if arguments != promised.inputs.keys() or len(promised.outputs) != 1 or str(schema.returns[0].type) != "Tensor":
        raise ExportError(f"{config.name} breaks its configuration: {schema}, promised {promised}")


class Runner:
    """The file as a server runs it: one output, named by the configuration."""

    def __init__(self, content: bytes, config: ModelConfig) -> None:
        self._module = _load(content)
        self._output = config.output[0].name

    def __call__(self, inputs: Arrays) -> Arrays:
        with torch.inference_mode():
            answer = self._module(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        return {self._output: answer.numpy()}


def _load(content: bytes) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch prefers torch.export; Triton's backend reads this
        return torch.jit.load(io.BytesIO(content), map_location="cpu")


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
