"""A served graph as ONNX: opset 18 and IR version 10, which every Triton image since 24.10 runs."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from export.contract import Arrays, ModelConfig, Signature, Tensor, check_signature
from export.entries import Named, ServedGraph
from export.errors import ExportError

FILENAME = "model.onnx"
CONFIG = "config.pbtxt"
OPSET = 18
LARGE = 1 << 30  # bytes of weights: protocol buffers end at 2 GiB
IR_VERSION = 10  # the libraries' default is newer than what servers load

logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(
    logging.ERROR
)  # no operator of torchvision's is used


def build(graph: ServedGraph, example: Named, about: dict[str, str], path: Path, large: int = LARGE) -> None:
    """Trace, write and check; `about` becomes the file's metadata. Raises ExportError.

    Weights of at least `large` bytes lie beside the file, in one of its name with .data behind it.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own: deprecations inside torch, names of shared axes
        program = torch.onnx.export(
            graph,
            kwargs=example,
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=list(example),
            output_names=list(graph.outputs),
            dynamic_shapes=graph.dynamic_shapes(),
        )
    if program is None:
        raise ExportError("torch.onnx.export gave no program")
    _keep_names_apart(program.model.graph)
    if sum(parameter.nbytes for parameter in graph.parameters()) < large:
        model = program.model_proto
    else:
        program.save(path, external_data=True)
        model = onnx.load(path, load_external_data=False)
    del program  # it holds the weights again, transposed
    _forget_traces(model)
    model.ir_version = IR_VERSION
    model.producer_name = "auricle"
    onnx.helper.set_model_props(model, about)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    if opsets != {"": OPSET}:
        raise ExportError(f"the graph needs operator sets {opsets}, only {OPSET} of ONNX is served everywhere")
    path.write_bytes(model.SerializeToString())
    try:
        onnx.checker.check_model(path, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the ONNX checker refuses the graph: {error}") from error


def check(path: Path, config: ModelConfig) -> None:
    """Names, dtypes and dims must be those of config.pbtxt. Raises ExportError."""
    graph = onnx.load(path, load_external_data=False).graph
    inputs, outputs = ({value.name: _tensor(value) for value in values} for values in (graph.input, graph.output))
    check_signature(config, Signature(inputs, outputs))


class Runner:
    """The file as a server runs it."""

    def __init__(self, path: Path, config: ModelConfig) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, inputs: Arrays) -> Arrays:
        return dict(zip(self._names, self._session.run(self._names, inputs), strict=True))


def _tensor(value: onnx.ValueInfoProto) -> Tensor:
    kind = value.type.tensor_type
    dims = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim)
    return Tensor(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)), dims)


def _keep_names_apart(graph: Any) -> None:
    """Values inside get other names than the outputs: the exporter names each after its operator, as `embedding`."""
    outputs = set(graph.outputs)
    names = {value.name for value in outputs}
    for node in graph:
        for value in node.outputs:
            if value.name in names and value not in outputs:
                value.name = f"{value.name}.inside"


def _forget_traces(model: onnx.ModelProto) -> None:
    """Drop the stack traces and file names of the machine that exported."""
    graph = model.graph
    parts: tuple[Any, ...] = (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info)
    for part in (*parts, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
