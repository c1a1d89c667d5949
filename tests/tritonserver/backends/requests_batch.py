"""Many inference requests as one feed, and its outputs as their responses; shared by the backends of this folder."""

from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

if int(np.__version__.split(".")[0]) >= 2:
    raise RuntimeError(f"numpy {np.__version__}: the backend process of this server corrupts tensors with numpy >= 2")

NUMPY = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
}

Feed = dict[str, np.ndarray[Any, Any]]


class Batch:
    """The server has checked shapes and types, and never puts requests of different shapes together."""

    def __init__(self, requests: list[Any], batched: bool) -> None:
        self._requests = requests
        self._batched = batched
        parts: dict[str, list[np.ndarray[Any, Any]]] = {}
        for request in requests:
            for tensor in request.inputs():
                parts.setdefault(tensor.name(), []).append(tensor.as_numpy())
        self.feed: Feed = {name: np.concatenate(arrays) if batched else arrays[0] for name, arrays in parts.items()}
        self._sizes = [request.inputs()[0].shape()[0] if batched else 1 for request in requests]

    def responses(self, outputs: Feed) -> list[Any]:
        """One for each request, with its rows of the outputs that it asked for."""
        total = sum(self._sizes)
        for name, array in outputs.items():
            if self._batched and array.shape[0] != total:
                return self.errors(f"output '{name}' has {array.shape[0]} rows for a batch of {total}")
        answers, start = [], 0
        for request, size in zip(self._requests, self._sizes):  # noqa: B905  the stub may run an older Python
            wanted = set(request.requested_output_names()) or set(outputs)
            rows = slice(start, start + size) if self._batched else slice(None)
            tensors = [
                pb_utils.Tensor(name, np.ascontiguousarray(array[rows]))
                for name, array in outputs.items()
                if name in wanted
            ]
            answers.append(pb_utils.InferenceResponse(output_tensors=tensors))
            start += size
        return answers

    def errors(self, text: str) -> list[Any]:
        """A batch that fails, fails for all of its requests, as in the compiled backends."""
        # an error object each: the server frees it with its response, and shared ones crash it
        return [
            pb_utils.InferenceResponse(error=pb_utils.TritonError(text, pb_utils.TritonError.INTERNAL))
            for _ in self._requests
        ]
