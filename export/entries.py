"""The models that can be exported: each `export/<system>/graph.py` lists its own, none is registered by hand."""

import importlib
import importlib.util
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.export import Dim

import export
from export.errors import ExportError
from export.weights import Weights, pack_weights, restore_config, unpack_weights

Precision = Literal["fp32", "fp16"]
Named = dict[str, Tensor]
BATCH = Dim("batch")


@dataclass(frozen=True)
class Measure:
    """One number of a proof, and the limit that it must keep."""

    name: str
    value: float
    limit: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """False for NaN too."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name} {self.value:.6g} ({'at least' if self.at_least else 'at most'} {self.limit:g})"


@dataclass(frozen=True)
class Case:
    """Inputs, and what an exported file answered to them."""

    inputs: Named
    answer: Named


class ServedGraph(nn.Module, ABC):
    """What is served: the argument names of forward() and `outputs` are the tensor names of config.pbtxt.

    forward() gives a tensor, or a tuple of as many as there are outputs, in their order.

    A graph is measured in steps, the smallest unit that its time axis grows by. forward() takes and gives float32
    whatever precision the model inside it computes in.
    """

    outputs: ClassVar[tuple[str, ...]]
    max_steps: int

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.requires_grad_(False).eval()

    @property
    @abstractmethod
    def constants(self) -> dict[str, str]:
        """The `parameters {}` of config.pbtxt that the weights decide."""

    @property
    def files(self) -> dict[str, str]:
        """What a gateway needs beside config.pbtxt, by name: a vocabulary."""
        return {}

    @abstractmethod
    def dynamic_shapes(self) -> dict[str, dict[int, Any]]:
        """The axes of each input that are free, for torch.export."""

    @abstractmethod
    def example(self, batch: int, steps: int, seed: int) -> Named:
        """Inputs like those that will be served, the same for the same seed."""

    @abstractmethod
    def measure(self, cases: Sequence[Case], precision: Precision) -> list[Measure]:
        """How far answers are from this graph's own, against the limits of that precision."""

    def answer(self, inputs: Named) -> Named:
        """What forward() gives, by name."""
        values = self(**inputs)
        return dict(zip(self.outputs, values if isinstance(values, tuple) else (values,), strict=True))

    def half(self) -> Self:
        """Weights and activations in float16."""
        self.model.half()
        return self


@dataclass(frozen=True)
class Entry:
    """A model of the repository, and how its graph is built."""

    model: str  # its folder in model_repository/
    weights: str  # its weights in export/weights/, without the suffix
    presets: Mapping[str, Any]
    module: Callable[[Any], nn.Module]
    graph: Callable[[Any], ServedGraph]
    texts: Mapping[str, str] | None = None  # its configurations by their path, where they are not the reviewed ones

    @property
    def config_type(self) -> type[Any]:
        return type(next(iter(self.presets.values())))

    def preset_of(self, weights: Weights) -> str:
        """The name of the preset that the weights are of, or "custom"."""
        config = restore_config(self.config_type, weights.config)
        return next((name for name, preset in self.presets.items() if preset == config), "custom")

    def build(self, weights: Weights) -> ServedGraph:
        """Raises ExportError when the weights are another model's or do not fit their configuration."""
        if weights.kind != self.config_type.__name__:
            raise ExportError(f"{self.model} needs weights of a {self.config_type.__name__}, not of a {weights.kind}")
        model = self.module(restore_config(self.config_type, weights.config))
        try:
            model.load_state_dict(weights.state)
        except RuntimeError as error:
            raise ExportError(f"the weights do not fit {self.model}: {error}") from error
        return self.graph(model)

    def untrained(self, config: Any) -> Weights:
        """Random weights, the same each time: to try sizes and speed before anything is trained."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return unpack_weights(pack_weights(self.module(config).state_dict(), config))


def discover() -> dict[str, Entry]:
    """Every entry in the `ENTRIES` of every system, by model name."""
    packages = [module.name for module in pkgutil.iter_modules(export.__path__) if module.ispkg]
    graphs = [f"export.{name}.graph" for name in packages if importlib.util.find_spec(f"export.{name}.graph")]
    entries: list[Entry] = [entry for name in graphs for entry in importlib.import_module(name).ENTRIES]
    return {entry.model: entry for entry in sorted(entries, key=lambda entry: entry.model)}
