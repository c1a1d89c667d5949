"""ONNX Runtime over one version of one model: loaded, checked against its config.pbtxt, warmed, run."""

import os

import numpy as np
import onnxruntime as ort
import torch

from service.repository import ModelConfig, RepositoryError, Warmup
from service.tensors import Tensors


class Session:
    """The newest allowed version of one model; safe to run from several threads."""

    def __init__(self, config: ModelConfig, threads: int) -> None:
        """Loads the graph; raises RepositoryError where it is missing or is not what config.pbtxt says."""
        if config.backend != "onnxruntime":
            raise RepositoryError(f"model {config.name!r} is for the backend {config.backend!r}, not onnxruntime")
        if (path := config.file) is None:
            raise RepositoryError(f"model {config.name!r} has no version to load")
        try:
            self._session = ort.InferenceSession(path, _options(config, threads), providers=_providers())
        except Exception as exc:  # ONNX Runtime's classes share no other base
            raise RepositoryError(f"model {config.name!r}: {path} does not load: {exc}") from exc
        self._name = config.name
        self._outputs = [spec.name for spec in config.outputs]
        _check_graph(config, self._session)

    def run(self, inputs: Tensors) -> Tensors:
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))

    def warm(self, sample: Warmup) -> None:
        """Raises RepositoryError if the graph does not take the sample."""
        noise = np.random.default_rng(0)
        inputs = {}
        for spec in sample.inputs:
            shape = (sample.batch_size, *spec.dims)
            values = noise.uniform(size=shape) if spec.name in sample.random else np.zeros(shape)
            inputs[spec.name] = values.astype(spec.dtype)
        try:
            for _ in range(sample.count):
                self.run(inputs)
        except Exception as exc:  # ONNX Runtime's classes share no other base
            raise RepositoryError(f"warm-up {sample.name!r} of model {self._name!r} failed: {exc}") from exc


def _usable_cores() -> int:
    """In a container or under taskset fewer than the machine has, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _options(config: ModelConfig, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    share = max(1, _usable_cores() // config.instances)
    # the process's own setting, else the model's (by the names of Triton's onnxruntime backend), else an equal share
    options.intra_op_num_threads = threads or int(config.parameters.get("intra_op_thread_count", share))
    options.inter_op_num_threads = int(config.parameters.get("inter_op_thread_count", 1))
    options.enable_mem_pattern = False  # a plan kept for every shape costs memory, and no shape runs faster for it
    options.log_severity_level = 4  # a failure arrives as an exception, which is logged once, with its model
    return options


def _providers() -> list[str]:
    if torch.cuda.is_available() and "CUDAExecutionProvider" in ort.get_available_providers():
        ort.preload_dlls()  # the CUDA libraries that torch brought
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]
    return ["CPUExecutionProvider"]


def _check_graph(config: ModelConfig, session: ort.InferenceSession) -> None:
    """Names, and whose weights these are: dims and types are proven where the graph is made."""
    graph = {node.name for node in session.get_inputs()}
    if graph != {spec.name for spec in config.inputs}:
        raise RepositoryError(f"model {config.name!r}: the graph has inputs {sorted(graph)}, not those of config.pbtxt")
    missing = {spec.name for spec in config.outputs} - {node.name for node in session.get_outputs()}
    if missing:
        raise RepositoryError(f"model {config.name!r}: the graph has no output {min(missing)!r}")
    built = session.get_modelmeta().custom_metadata_map.get("weights_digest")
    if built is not None and built != config.parameters.get("weights_digest"):
        raise RepositoryError(
            f"model {config.name!r} was built from other weights than its config.pbtxt names; "
            f"build it again: auricle export {config.name}"
        )
