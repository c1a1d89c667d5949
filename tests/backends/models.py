"""Models of a few nodes, each for one property that the contract of the backends is about."""

import time
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime as ort

HEADER = '<ir_version: 10, opset_import: ["": 18]>'

# y = x + 1
ADD = (
    "add (float[B, 4] x) => (float[B, 4] y) <float one = {1}> { y = Add(x, one) }",
    """
    max_batch_size: 8
    input { name: "x" data_type: TYPE_FP32 dims: [4] }
    output { name: "y" data_type: TYPE_FP32 dims: [4] }
    dynamic_batching {}
    model_warmup {
        name: "noise" batch_size: 2
        inputs { key: "x" value { data_type: TYPE_FP32 dims: [4] random_data: true } }
    }
    parameters { key: "colour" value { string_value: "blue" } }
    """,
)

# several tensors in and out, of several types, with a free axis
PAIR = (
    """pair (float[B, T, 3] mel, int32[B, 1] frames) => (float[B, T] sums, int64[B, 1] doubled) {
        last = Constant<value = int64[1] {2}>()
        sums = ReduceSum<keepdims = 0>(mel, last)
        wide = Cast<to = 7>(frames)
        doubled = Add(wide, wide)
    }""",
    """
    max_batch_size: 8
    input { name: "mel" data_type: TYPE_FP32 dims: [-1, 3] }
    input { name: "frames" data_type: TYPE_INT32 dims: [1] }
    output { name: "sums" data_type: TYPE_FP32 dims: [-1] }
    output { name: "doubled" data_type: TYPE_INT64 dims: [1] }
    dynamic_batching {}
    """,
)

# rows = how many rows were run together with this one
CROWD = (
    """crowd (float[B, T] x) => (int64[B, 1] rows) <int64[1] one = {1}> {
        size = Shape<start = 0, end = 1>(x)
        shape = Concat<axis = 0>(size, one)
        rows = Expand(size, shape)
    }""",
    """
    max_batch_size: 8
    input { name: "x" data_type: TYPE_FP32 dims: [-1] }
    output { name: "rows" data_type: TYPE_INT64 dims: [1] }
    dynamic_batching { max_queue_delay_microseconds: 300000 }
    """,
)

# y = index / 10 for an index below 4; any other raises inside the graph
PICKY = (
    """picky (int64[B, 1] index) => (float[B, 1] y) <float[4] table = {0.0, 0.1, 0.2, 0.3}> {
        y = Gather(table, index)
    }""",
    """
    max_batch_size: 4
    input { name: "index" data_type: TYPE_INT64 dims: [1] }
    output { name: "y" data_type: TYPE_FP32 dims: [1] }
    dynamic_batching { max_queue_delay_microseconds: 300000 }
    """,
)

# runs for as many steps as it is told to, some microseconds each
SLOW = (
    """slow (int64[B, 1] steps) => (int64[B, 1] done) <int64 zero = {0}, int64 one = {1}> {
        trips = ReduceMax<keepdims = 0>(steps)
        go = Constant<value = bool {1}>()
        count = Loop<body = step (int64 i, bool more, int64 seen) => (bool again, int64 next) {
            again = Identity(more)
            next = Add(seen, one)
        }>(trips, go, zero)
        none = Mul(steps, zero)
        done = Add(none, count)
    }""",
    """
    max_batch_size: 1
    input { name: "steps" data_type: TYPE_INT64 dims: [1] }
    output { name: "done" data_type: TYPE_INT64 dims: [1] }
    dynamic_batching { default_queue_policy { max_queue_size: 4 } }
    """,
)

# the same with a limit on the time in the queue
HASTY = (
    SLOW[0].replace("slow (", "hasty ("),
    SLOW[1].replace("max_queue_size: 4", "default_timeout_microseconds: 1000"),
)

# no batch axis at all
WHOLE = (
    "whole (float[T] x) => (float[T] y) <float two = {2}> { y = Mul(x, two) }",
    """
    max_batch_size: 0
    input { name: "x" data_type: TYPE_FP32 dims: [-1] }
    output { name: "y" data_type: TYPE_FP32 dims: [-1] }
    """,
)

MODELS = {
    "add": ADD,
    "pair": PAIR,
    "crowd": CROWD,
    "picky": PICKY,
    "slow": SLOW,
    "hasty": HASTY,
    "whole": WHOLE,
}


def write_version(folder: Path, version: int) -> None:
    """The model `add` as that version: y = x + version. It is whole from the moment it is seen."""
    graph = ADD[0].replace("{1}", f"{{{version}}}")
    aside = folder.parent / f".{version}"
    aside.mkdir()
    onnx.save(onnx.parser.parse_model(HEADER + graph), aside / "model.onnx")
    aside.rename(folder / str(version))


def steps_for(seconds: float) -> int:
    """How many steps of the slow model take that long on this machine, with nothing else running."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    graph = onnx.parser.parse_model(HEADER + SLOW[0])
    session = ort.InferenceSession(graph.SerializeToString(), options)
    trial = 50_000
    durations = []
    for _ in range(3):
        began = time.perf_counter()
        session.run(None, {"steps": np.array([[trial]], np.int64)})
        durations.append(time.perf_counter() - began)
    return round(trial * seconds / min(durations))


def build(path: Path, *names: str) -> Path:
    """Writes `names` (default: all) into the folder `path`, and returns it."""
    for name in names or MODELS:
        graph, config = MODELS[name]
        (path / name / "1").mkdir(parents=True)
        model = onnx.parser.parse_model(HEADER + graph)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path / name / "1" / "model.onnx")
        (path / name / "config.pbtxt").write_text(
            f'name: "{name}"\nbackend: "onnxruntime"\ninstance_group {{ count: 1 }}\n{config}'
        )
    return path
