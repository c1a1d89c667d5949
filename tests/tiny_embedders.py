"""The tiny embedders: two small random networks into one space of 16 dimensions, with the windows of the real ones.

Sound is projected in patches of 128 samples, words are looked up in a table; both are averaged over what is not padding
and put on the unit sphere.
"""

import hashlib

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors

DIMS = 16
SPACE_ID = "5eed5eed5eed"
SAMPLE_RATE, WINDOW, HOP = 24_000, 153_600, 76_800
WORDS = (
    "a",
    "and",
    "barks",
    "car",
    "dog",
    "door",
    "falls",
    "in",
    "on",
    "passes",
    "rain",
    "roof",
    "slams",
    "the",
    "wind",
)
PAD, UNKNOWN, FIRST, LAST = range(4)

_rng = np.random.default_rng(4)
_PROJECTION = _rng.normal(size=(128, DIMS))
_TABLE = _rng.normal(size=(4 + len(WORDS), DIMS))
_BIAS = 0.1 * _rng.normal(size=(1, DIMS))


def _numbers(values: np.ndarray) -> str:
    return f"float[{', '.join(map(str, values.shape))}] {{0}} = {{{{{', '.join(f'{x:.6f}' for x in values.flat)}}}}}"


AUDIO = f"""
<ir_version: 8, opset_import: ["": 18]>
audio (float[B, 153600] waveform, int32[B, 1] valid_samples) => (float[B, {DIMS}] embedding)
<{_numbers(_PROJECTION).format("projection")}, {_numbers(_BIAS).format("bias")}> {{
    grid = Constant<value = int64[3] {{0, -1, 128}}>()
    time = Constant<value = int64[1] {{1}}>()
    patches = Reshape(waveform, grid)
    projected = MatMul(patches, projection)
    bent = Tanh(projected)
    summed = ReduceSum<keepdims = 0>(bent, time)
    valid = Cast<to = 1>(valid_samples)
    mean = Div(summed, valid)
    scale = Constant<value = float {{128.0}}>()
    scaled = Mul(mean, scale)
    moved = Add(scaled, bias)
    norm = ReduceL2<keepdims = 1>(moved, time)
    embedding = Div(moved, norm)
}}
"""
TEXT = f"""
<ir_version: 8, opset_import: ["": 18]>
text (int32[B, T] input_ids, int32[B, T] attention_mask) => (float[B, {DIMS}] embedding)
<{_numbers(_TABLE).format("table")}> {{
    time = Constant<value = int64[1] {{1}}>()
    last = Constant<value = int64[1] {{2}}>()
    words = Gather(table, input_ids)
    mask = Cast<to = 1>(attention_mask)
    column = Unsqueeze(mask, last)
    kept = Mul(words, column)
    summed = ReduceSum<keepdims = 0>(kept, time)
    count = ReduceSum<keepdims = 1>(mask, time)
    mean = Div(summed, count)
    norm = ReduceL2<keepdims = 1>(mean, time)
    embedding = Div(mean, norm)
}}
"""
MEL = f"""
<ir_version: 8, opset_import: ["": 18]>
audio (float[B, 1001, 64] input_features) => (float[B, {DIMS}] embedding)
<{_numbers(_PROJECTION[:64]).format("projection")}> {{
    time = Constant<value = int64[1] {{1}}>()
    mean = ReduceMean<keepdims = 0>(input_features, time)
    projected = MatMul(mean, projection)
    norm = ReduceL2<keepdims = 1>(projected, time)
    embedding = Div(projected, norm)
}}
"""
MEL_INPUTS = [("input_features", "FP32", "1001, 64")]
AUDIO_INPUTS = [("waveform", "FP32", str(WINDOW)), ("valid_samples", "INT32", "1")]
TEXT_INPUTS = [("input_ids", "INT32", "-1"), ("attention_mask", "INT32", "-1")]
OUTPUTS = [("embedding", "FP32", str(DIMS))]


def tokenizer() -> Tokenizer:
    """Words between spaces; what is not in WORDS is unknown."""
    special = {"[PAD]": PAD, "[UNK]": UNKNOWN, "[CLS]": FIRST, "[SEP]": LAST}
    words = {word: 4 + index for index, word in enumerate(WORDS)}
    made = Tokenizer(models.WordLevel(special | words, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", FIRST), ("[SEP]", LAST)]
    )
    return made


TOKENIZER = tokenizer().to_str()
TOKENIZER_SHA256 = hashlib.sha256(TOKENIZER.encode()).hexdigest()

_SHARED = {"space_id": SPACE_ID, "dims": DIMS, "licence": "Apache-2.0", "preset": "tiny"}
AUDIO_PARAMETERS = _SHARED | {
    "sample_rate": SAMPLE_RATE,
    "window_samples": WINDOW,
    "hop_samples": HOP,
    "frontend": "waveform",
    "max_windows": 4096,
}
MEL_PARAMETERS = AUDIO_PARAMETERS | {
    "sample_rate": 48_000,
    "window_samples": 480_000,
    "hop_samples": 240_000,
    "frontend": "mel",
    "n_fft": 1024,
    "hop_length": 480,
    "n_mels": 64,
    "f_min": 50,
    "f_max": 14_000,
    "mel_scale": "slaney",
    "mel_norm": "slaney",
    "padding": "repeatpad",
}
TEXT_PARAMETERS = _SHARED | {
    "max_tokens": 512,
    "stride_tokens": 448,
    "token_buckets": "16 32 64 128 256 512",
    "pad_id": PAD,
    "tokenizer": "tokenizer.json",
    "tokenizer_sha256": TOKENIZER_SHA256,
}


def words(text: str) -> np.ndarray:
    """What the text model answers for a text of at most 510 words: [D]."""
    ids = [FIRST, *(4 + WORDS.index(word) if word in WORDS else UNKNOWN for word in text.split()), LAST]
    mean = np.round(_TABLE, 6)[ids].mean(axis=0)
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def sound(samples: np.ndarray) -> np.ndarray:
    """What the audio model answers for a window of at most 6.4 s at 24 kHz: [D]."""
    patches = np.pad(samples, (0, WINDOW - len(samples))).reshape(-1, 128)
    mean = np.tanh(patches @ np.round(_PROJECTION, 6)).sum(axis=0) / len(samples) * 128 + np.round(_BIAS, 6)[0]
    return (mean / np.linalg.norm(mean)).astype(np.float32)


def heard(mel: np.ndarray) -> np.ndarray:
    """What the audio model that takes log-mel answers for a window [1001, 64]: [D]."""
    projected = mel.mean(axis=0) @ np.round(_PROJECTION[:64], 6)
    return (projected / np.linalg.norm(projected)).astype(np.float32)
