"""Triton's `pytorch` backend in Python: TorchScript, with the compiled one's rules for names and outputs."""

import json
from pathlib import Path
from typing import Any

import torch
from requests_batch import NUMPY, Batch, Feed


class TritonPythonModel:
    def initialize(self, args: dict[str, Any]) -> None:
        self._config = json.loads(args["model_config"])
        self._batched = self._config["max_batch_size"] > 0
        folder = Path(args["model_repository"]) / args["model_version"]
        torch.set_num_threads(1)
        path = folder / (self._config["default_model_filename"] or "model.pt")
        self._module = torch.jit.load(path, map_location="cpu").eval()
        arguments = [argument.name for argument in self._module.forward.schema.arguments][1:]  # without self
        names = [spec["name"] for spec in self._config["input"]]
        if len(arguments) != len(names):
            raise RuntimeError(f"configuration expects {len(names)} inputs, model provides {len(arguments)}")
        # by the names of forward()'s arguments, else by a suffix __<index>, else in the order of the configuration
        if set(names) == set(arguments):
            self._order = {name: arguments.index(name) for name in names}
        else:
            self._order = _by_index(names)
        self._outputs = _by_index([spec["name"] for spec in self._config["output"]])
        self._dtypes = {spec["name"]: NUMPY[spec["data_type"]] for spec in self._config["output"]}

    def execute(self, requests: list[Any]) -> list[Any]:
        batch = Batch(requests, self._batched)
        try:
            return batch.responses(self._run(batch.feed))
        except Exception as exc:  # noqa: BLE001  every failure becomes a response
            return batch.errors(f"PyTorch execute failure: {exc}")

    def _run(self, feed: Feed) -> Feed:
        names = sorted(feed, key=self._order.__getitem__)
        with torch.inference_mode():
            result = self._module(*(torch.from_numpy(feed[name].copy()) for name in names))
        tensors = result if isinstance(result, tuple) else (result,)
        if not all(isinstance(tensor, torch.Tensor) for tensor in tensors):
            raise TypeError("output must be of type Tensor or Tuple of Tensors, not a List or Dictionary")
        outputs = {name: tensors[index].contiguous().numpy() for name, index in self._outputs.items()}
        for name, array in outputs.items():
            if array.dtype != self._dtypes[name]:
                raise TypeError(f"configuration expects {self._dtypes[name]} for '{name}', model has {array.dtype}")
        return outputs


def _by_index(names: list[str]) -> dict[str, int]:
    suffixes = {name: name.partition("__")[2] for name in names}
    if all(suffix.isdigit() for suffix in suffixes.values()):
        return {name: int(suffix) for name, suffix in suffixes.items()}
    return {name: index for index, name in enumerate(names)}
