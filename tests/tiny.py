"""A model repository of the real shape with graphs of a few nodes: it is built in milliseconds and its sums are known.

The encoder's token is the mean level of a patch (8 frames x 32 bins) in 18 bits, the decoder paints patches of that
level, and the vocoder plays a fixed carrier at each frame's mean level. `tests.tiny_maps` is the room model, and
`tests.tiny_embedders` are those of text and sound.
"""

from pathlib import Path

import onnx
import onnx.parser

from tests import tiny_embedders, tiny_maps

DIGEST = "5eed" * 16
BATCH = 8

_ENCODER = """
<ir_version: 8, opset_import: ["": 18]>
encoder (float[B, T, 128] mel, int32[B, 1] num_frames) => (int64[B, N] tokens) {
    grid = Constant<value = int64[5] {0, -1, 8, 4, 32}>()
    patches = Reshape(mel, grid)
    inside = Constant<value = int64[2] {2, 4}>()
    level = ReduceMean<keepdims = 0>(patches, inside)
    floor = Constant<value = float[1] {-80.0}>()
    step = Constant<value = float[1] {3276.7875}>()
    above = Sub(level, floor)
    scaled = Mul(above, step)
    rounded = Round(scaled)
    codes = Cast<to = 7>(rounded)
    zero = Constant<value = int64 {0}>()
    one = Constant<value = int64 {1}>()
    seven = Constant<value = int64 {7}>()
    eight = Constant<value = int64 {8}>()
    shape = Shape(codes)
    steps = Gather(shape, one)
    row = Range(zero, steps, one)
    frames = Cast<to = 7>(num_frames)
    rounded_up = Add(frames, seven)
    valid_steps = Div(rounded_up, eight)
    valid = Less(row, valid_steps)
    last = Constant<value = int64[1] {2}>()
    mask = Unsqueeze(valid, last)
    kept = Where(mask, codes, zero)
    flat = Constant<value = int64[2] {0, -1}>()
    tokens = Reshape(kept, flat)
}
"""

_DECODER = """
<ir_version: 8, opset_import: ["": 18]>
decoder (int64[B, N] tokens, int32[B, 1] num_frames) => (float[B, T, 128] mel) {
    grid = Constant<value = int64[5] {0, -1, 1, 4, 1}>()
    codes = Cast<to = 1>(tokens)
    step = Constant<value = float[1] {3276.7875}>()
    floor = Constant<value = float[1] {-80.0}>()
    above = Div(codes, step)
    level = Add(above, floor)
    patches = Reshape(level, grid)
    repeats = Constant<value = int64[5] {1, 1, 8, 1, 32}>()
    painted = Tile(patches, repeats)
    rows = Constant<value = int64[3] {0, -1, 128}>()
    whole = Reshape(painted, rows)
    zero = Constant<value = int64 {0}>()
    one = Constant<value = int64 {1}>()
    shape = Shape(whole)
    length = Gather(shape, one)
    row = Range(zero, length, one)
    frames = Cast<to = 7>(num_frames)
    valid = Less(row, frames)
    last = Constant<value = int64[1] {2}>()
    mask = Unsqueeze(valid, last)
    mel = Where(mask, whole, floor)
}
"""

_VOCODER = """
<ir_version: 8, opset_import: ["": 18]>
vocoder (float[B, T, 128] mel) => (float[B, S] waveform) {
    bins = Constant<value = int64[1] {2}>()
    level = ReduceMean<keepdims = 1>(mel, bins)
    twenty = Constant<value = float[1] {20.0}>()
    ten = Constant<value = float[1] {10.0}>()
    exponent = Div(level, twenty)
    amplitude = Pow(ten, exponent)
    period = Constant<value = float[1, 1, 4] {0.0, 1.0, 0.0, -1.0}>()
    repeats = Constant<value = int64[3] {1, 1, 40}>()
    carrier = Tile(period, repeats)
    frames = Mul(amplitude, carrier)
    flat = Constant<value = int64[2] {0, -1}>()
    waveform = Reshape(frames, flat)
}
"""

_FRONT_END = {"sample_rate": 16000, "hop_length": 160, "n_mels": 128, "db_min": -80, "db_max": 0}
_TOKENIZER = _FRONT_END | {
    "n_fft": 1024,
    "win_length": 1024,
    "f_min": 0,
    "f_max": 8000,
    "mel_scale": "htk",
    "db_reference": 48.1648,
    "time_patch": 8,
    "freq_patch": 32,
    "bits": 18,
    "window_frames": 1024,
    "preset": "tiny",
    "weights_digest": DIGEST,
}

_MEL, _TOKENS, _FRAMES = ("mel", "FP32", "-1, 128"), ("tokens", "INT64", "-1"), ("num_frames", "INT32", "1")
_MODELS = {
    "tokenizer_encoder": (_ENCODER, [_MEL, _FRAMES], [_TOKENS], _TOKENIZER),
    "tokenizer_decoder": (_DECODER, [_TOKENS, _FRAMES], [_MEL], _TOKENIZER),
    "vocoder": (
        _VOCODER,
        [_MEL],
        [("waveform", "FP32", "-1")],
        _FRONT_END | {"context_frames": 32, "weights_digest": DIGEST},
    ),
    "acoustic_maps": (
        tiny_maps.GRAPH,
        tiny_maps.INPUTS,
        tiny_maps.OUTPUTS,
        tiny_maps.PARAMETERS | {"weights_digest": DIGEST},
    ),
    "audio_embedder": (
        tiny_embedders.AUDIO,
        tiny_embedders.AUDIO_INPUTS,
        tiny_embedders.OUTPUTS,
        tiny_embedders.AUDIO_PARAMETERS | {"weights_digest": DIGEST},
    ),
    "text_embedder": (
        tiny_embedders.TEXT,
        tiny_embedders.TEXT_INPUTS,
        tiny_embedders.OUTPUTS,
        tiny_embedders.TEXT_PARAMETERS | {"weights_digest": DIGEST},
    ),
}


def build(path: Path, *models: str) -> Path:
    """Writes `models` (default: all of them) into the folder `path`, and returns it."""
    for name in models or _MODELS:
        graph, inputs, outputs, parameters = _MODELS[name]
        folder = path / name
        (folder / "1").mkdir(parents=True)
        onnx.save(onnx.parser.parse_model(graph), folder / "1" / "model.onnx")
        (folder / "config.pbtxt").write_text(_config(name, inputs, outputs, parameters))
        if name == "text_embedder":
            (folder / "tokenizer.json").write_text(tiny_embedders.TOKENIZER)
    return path


def _config(name: str, inputs: list[tuple[str, ...]], outputs: list[tuple[str, ...]], parameters: dict) -> str:
    lines = [f'name: "{name}"', 'backend: "onnxruntime"', f"max_batch_size: {BATCH}"]
    for kind, tensors in (("input", inputs), ("output", outputs)):
        lines += [
            f'{kind} {{ name: "{tensor}" data_type: TYPE_{dtype} dims: [{dims}] }}' for tensor, dtype, dims in tensors
        ]
    lines += ["dynamic_batching { default_queue_policy { max_queue_size: 64 } }", "instance_group { count: 1 }"]
    lines += [f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}' for key, value in parameters.items()]
    return "\n".join(lines) + "\n"


def hear_mel(path: Path) -> None:
    """Replaces the audio embedder by one that takes log-mel, as CLAP does."""
    parameters = tiny_embedders.MEL_PARAMETERS | {"weights_digest": DIGEST}
    config = _config("audio_embedder", tiny_embedders.MEL_INPUTS, tiny_embedders.OUTPUTS, parameters)
    (path / "audio_embedder" / "config.pbtxt").write_text(config)
    onnx.save(onnx.parser.parse_model(tiny_embedders.MEL), path / "audio_embedder" / "1" / "model.onnx")


def break_vocoder(path: Path) -> None:
    """Replaces the vocoder by one that loads and fails on every input."""
    graph = """
    <ir_version: 8, opset_import: ["": 18]>
    vocoder (float[B, T, 128] mel) => (float[B, S] waveform) {
        impossible = Constant<value = int64[2] {-1, 1000003}>()
        waveform = Reshape(mel, impossible)
    }
    """
    onnx.save(onnx.parser.parse_model(graph), path / "vocoder" / "1" / "model.onnx")
