"""The same repository as TorchScript, which the server takes from `configs/torchscript.pbtxt` beside config.pbtxt."""

from pathlib import Path

import numpy as np
import pytest
import torch

from service.backends.triton.backend import Triton
from service.errors import InferenceFailed
from tests.backends import models
from tests.conftest import StartTriton

pytestmark = [
    pytest.mark.tritonserver,
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # what torch retires, Triton goes on serving
]

CONFIG = """
backend: "pytorch"
max_batch_size: 8
input { name: "mel" data_type: TYPE_FP32 dims: [-1, 3] }
input { name: "frames" data_type: TYPE_INT32 dims: [1] }
output { name: "sums" data_type: TYPE_FP32 dims: [-1] }
output { name: "doubled" data_type: TYPE_INT64 dims: [1] }
dynamic_batching {}
instance_group { count: 1 }
"""


class Pair(torch.nn.Module):
    """The onnx model `pair`; arguments named as the inputs, but in another order."""

    def forward(self, frames: torch.Tensor, mel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return mel.sum(2), 2 * frames.long()


class Dictionary(torch.nn.Module):
    def forward(self, mel: torch.Tensor, frames: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"sums": mel.sum(2), "doubled": 2 * frames.long()}


def add_variant(folder: Path, module: torch.nn.Module) -> None:
    example = {"frames": torch.ones(1, 1, dtype=torch.int32), "mel": torch.ones(1, 2, 3)}
    torch.jit.trace(module, example_kwarg_inputs=example, strict=False).save(str(folder / "1" / "model.pt"))
    (folder / "configs").mkdir()
    (folder / "configs" / "torchscript.pbtxt").write_text(CONFIG)


async def test_the_torchscript_variant_answers_as_the_onnx_one(tritonserver: StartTriton, tmp_path: Path) -> None:
    repository = models.build(tmp_path, "pair", "add")
    add_variant(repository / "pair", Pair())
    backend = Triton([tritonserver(repository, config_name="torchscript").url])
    await backend.start()
    assert {name: config.backend for name, config in backend.models.items()} == {
        "pair": "pytorch",
        "add": "onnxruntime",
    }

    mel, frames = np.random.default_rng(0).normal(size=(3, 5, 3)).astype(np.float32), np.arange(3, dtype=np.int32)
    results = await backend.infer("pair", {"mel": mel, "frames": frames[:, None]})
    np.testing.assert_allclose(results["sums"], mel.sum(2), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(results["doubled"][:, 0], 2 * frames)
    await backend.close()


async def test_outputs_as_a_dictionary_fail_as_they_do_in_the_compiled_backend(
    tritonserver: StartTriton, tmp_path: Path
) -> None:
    repository = models.build(tmp_path, "pair")
    add_variant(repository / "pair", Dictionary())
    backend = Triton([tritonserver(repository, config_name="torchscript").url])
    await backend.start()
    with pytest.raises(InferenceFailed):
        await backend.infer("pair", {"mel": np.ones((1, 2, 3), np.float32), "frames": np.ones((1, 1), np.int32)})
    await backend.close()


def test_a_config_that_is_not_the_graphs_does_not_load(tritonserver: StartTriton, tmp_path: Path) -> None:
    repository = models.build(tmp_path, "add")
    file = repository / "add" / "config.pbtxt"
    file.write_text(file.read_text().replace('name: "y" data_type: TYPE_FP32', 'name: "y" data_type: TYPE_FP16'))
    with pytest.raises(RuntimeError, match=r"configuration expects TYPE_FP16 for 'y', model provides tensor\(float\)"):
        tritonserver(repository)
