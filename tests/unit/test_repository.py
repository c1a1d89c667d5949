"""config.pbtxt as the gateway reads it: valid, full, and broken in every way that an operator should hear of."""

from pathlib import Path

import numpy as np
import pytest

from service.repository import Batching, RepositoryError, TensorSpec, Warmup, load

MINIMAL = """
backend: "onnxruntime"
max_batch_size: 4
input { name: "x" data_type: TYPE_FP32 dims: [-1, 128] }
output { name: "y" data_type: TYPE_INT64 dims: [-1] }
"""

FULL = """
name: "m"
platform: "onnxruntime_onnx"
max_batch_size: 16
default_model_filename: "graph.onnx"
version_policy { specific { versions: [2, 3, 9] } }
input [
  { name: "x" data_type: TYPE_FP32 dims: [-1, 128] },
  { name: "n" data_type: TYPE_INT32 dims: [1] }
]
output { name: "y" data_type: TYPE_FP16 dims: [-1] }
instance_group [ { count: 2 }, { count: 1 } ]
dynamic_batching {
  preferred_batch_size: [8, 4]
  max_queue_delay_microseconds: 1500
  default_queue_policy {
    timeout_action: REJECT default_timeout_microseconds: 2000000 allow_timeout_override: true max_queue_size: 64
  }
}
model_warmup {
  name: "full" batch_size: 16 count: 3
  inputs { key: "x" value { data_type: TYPE_FP32 dims: [1024, 128] random_data: true } }
  inputs { key: "n" value { data_type: TYPE_INT32 dims: [1] zero_data: true } }
}
optimization { graph { level: 1 } }
parameters { key: "hop_length" value { string_value: "160" } }
parameters { key: "bits" value { string_value: "18" } }
"""


def write(repository: Path, config: str, *, versions: tuple[str, ...] = ("1",), model: str = "m") -> Path:
    for version in versions:
        (repository / model / version).mkdir(parents=True)
    (repository / model).mkdir(exist_ok=True)
    (repository / model / "config.pbtxt").write_text(config)
    return repository


def test_a_minimal_config_gets_tritons_defaults(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))["m"]
    assert (config.name, config.backend, config.path) == ("m", "onnxruntime", tmp_path / "m")
    assert config.inputs == (TensorSpec("x", np.dtype(np.float32), (-1, 128)),)
    assert config.outputs == (TensorSpec("y", np.dtype(np.int64), (-1,)),)
    assert (config.max_batch_size, config.versions, config.filename) == (4, (1,), "model.onnx")
    assert (config.batching, config.instances, config.warmup) == (Batching(enabled=False), 1, ())
    assert dict(config.parameters) == {}


def test_a_full_config_is_kept(tmp_path: Path) -> None:
    config = load(write(tmp_path, FULL, versions=("1", "2", "3", "10")))["m"]
    assert config.backend == "onnxruntime"
    assert config.versions == (2, 3)
    assert config.filename == "graph.onnx"
    assert config.instances == 3
    assert dict(config.parameters) == {"hop_length": "160", "bits": "18"}
    assert config.batching == Batching(True, 0.0015, (4, 8), 64, 2.0)
    assert config.warmup == (
        Warmup(
            name="full",
            batch_size=16,
            count=3,
            inputs=(TensorSpec("n", np.dtype(np.int32), (1,)), TensorSpec("x", np.dtype(np.float32), (1024, 128))),
            random=frozenset({"x"}),
        ),
    )


def test_versions_are_numbers_and_the_latest_is_the_greatest(tmp_path: Path) -> None:
    assert load(write(tmp_path, MINIMAL, versions=("2", "10", "9", "09", "v3", "configs")))["m"].versions == (10,)


def test_a_model_that_is_not_built_yet_is_there_without_versions(tmp_path: Path) -> None:
    assert load(write(tmp_path, MINIMAL, versions=()))["m"].versions == ()


def test_folders_without_config_and_absent_repositories_hold_no_models(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    assert load(tmp_path) == {}
    assert load(tmp_path / "absent") == {}


def test_a_delaying_queue_policy_refuses_nobody(tmp_path: Path) -> None:
    config = load(write(tmp_path, FULL.replace("timeout_action: REJECT", "timeout_action: DELAY")))["m"]
    assert config.batching.queue_timeout_s is None


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("max_batch_size: 4", "max_batch_size: 4 }", "config.pbtxt"),
        ("max_batch_size", "max_bach_size", "max_bach_size"),
        ("max_batch_size: 4", "max_batch_size: -1", "max_batch_size >= 0"),
        ("TYPE_FP32", "TYPE_FP33", "TYPE_FP33"),
        ("TYPE_FP32", "TYPE_BF16", "TYPE_BF16 of tensor 'x'"),
        ("TYPE_FP32", "TYPE_STRING", "TYPE_STRING of tensor 'x'"),
        ('backend: "onnxruntime"', 'name: "other"', "'other' is not that of its folder, 'm'"),
        ("output", "# output", "input and output"),
        ("dims: [-1, 128]", "dims: [-1, 128] reshape { shape: [-1] }", "reshape of tensor 'x'"),
        ("max_batch_size: 4", "sequence_batching {}", "sequence_batching"),
        ("max_batch_size: 4", "model_transaction_policy { decoupled: true }", "decoupled"),
        (
            "max_batch_size: 4",
            'model_warmup { inputs { key: "x" value { data_type: TYPE_FP32 input_data_file: "f" } } }',
            "warm-up input 'x'",
        ),
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert old in MINIMAL
    with pytest.raises(RepositoryError, match=complaint):
        load(write(tmp_path, MINIMAL.replace(old, new)))
