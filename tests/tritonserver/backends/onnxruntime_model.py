"""Triton's `onnxruntime` backend in Python: the load-time checks of the compiled one, and its errors."""

import json
from pathlib import Path
from typing import Any

import onnxruntime as ort
from requests_batch import NUMPY, Batch

ONNX_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
}
assert ONNX_TYPES.keys() == NUMPY.keys()


class TritonPythonModel:
    def initialize(self, args: dict[str, Any]) -> None:
        self._config = json.loads(args["model_config"])
        self._batched = self._config["max_batch_size"] > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        options = ort.SessionOptions()
        options.intra_op_num_threads = int(self._parameter("intra_op_thread_count", "1"))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(
            folder / (self._config["default_model_filename"] or "model.onnx"),
            options,
            providers=["CPUExecutionProvider"],
        )
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != len(self._config["input"]):
            raise RuntimeError(
                f"configuration expects {len(self._config['input'])} inputs, model provides {len(inputs)}"
            )
        for spec in self._config["input"]:
            self._check(spec, {node.name: node for node in inputs}, exact=False)
        for spec in self._config["output"]:
            self._check(spec, {node.name: node for node in outputs}, exact=True)
        self._outputs = [spec["name"] for spec in self._config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        batch = Batch(requests, self._batched)
        try:
            outputs = self._session.run(self._outputs, batch.feed)
        except Exception as exc:  # noqa: BLE001  every failure becomes a response
            return batch.errors(f"onnx runtime error: {exc}")
        return batch.responses(dict(zip(self._outputs, outputs)))  # noqa: B905

    def _parameter(self, name: str, default: str) -> str:
        value: str = self._config.get("parameters", {}).get(name, {}).get("string_value", default)
        return value

    def _check(self, spec: dict[str, Any], nodes: dict[str, Any], *, exact: bool) -> None:
        """Config dims equal the graph's; only inputs may be narrower. Batching needs a free first axis."""
        name = spec["name"]
        if name not in nodes:
            raise RuntimeError(f"unexpected tensor '{name}', allowed are: {', '.join(sorted(nodes))}")
        node = nodes[name]
        if node.type != ONNX_TYPES.get(spec["data_type"]):
            raise RuntimeError(f"configuration expects {spec['data_type']} for '{name}', model provides {node.type}")
        graph = [size if isinstance(size, int) else -1 for size in node.shape]
        config = [int(size) for size in spec["dims"]]
        if self._batched:
            config = [-1, *config]
        fits = len(graph) == len(config) and all(
            have == want or (have == -1 and not exact)
            for have, want in zip(graph, config)  # noqa: B905
        )
        if not fits or (self._batched and graph[0] != -1):
            raise RuntimeError(f"tensor '{name}': the model has shape {graph}, the configuration {config}")
