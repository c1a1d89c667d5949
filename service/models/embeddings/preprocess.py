"""Sound and text to the encoders' inputs: windows of a grid, and rows of tokens padded to one of a few lengths."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.dsp.windows import Window, WindowGrid
from service.errors import InvalidInput, PayloadTooLarge
from service.media.audio import AudioStream, select_channels
from service.media.resample import Resampler
from service.models.embeddings.model import AudioModel, TextModel
from service.models.embeddings.vocabulary import TokenWindow
from service.tensors import Tensors


@dataclass(frozen=True, eq=False)
class SoundWindow:
    """One row of audio_embedder's batch, and the samples of the recording, at the model's rate, that it stands for."""

    inputs: Tensors
    start: int
    end: int


class SoundWindows:
    """A recording of any rate and channel count to windows. `num_samples`, at the model's rate, is final at the end."""

    def __init__(self, sample_rate: int, model: AudioModel) -> None:
        self._model = model
        self._resampler = Resampler(sample_rate, model.sample_rate, channels=1)
        self._grid = WindowGrid(model.window_samples, model.hop_samples)
        self._count = 0

    @property
    def num_samples(self) -> int:
        return self._grid.num_samples

    def read(self, audio: AudioStream, blocks: Iterator[NDArray[np.float32]]) -> Iterator[SoundWindow]:
        """The windows of `blocks` in order; closes the audio.

        Raises InvalidInput if there are no samples, PayloadTooLarge for more than max_windows, and what reading raises.
        """
        with audio:
            for block in blocks:
                yield from self._push(self._resampler.push(select_channels(block, "mix")))
        yield from self._push(self._resampler.finish())
        yield from map(self._prepare, self._grid.finish())
        if not self._count:
            raise InvalidInput("the audio has no samples")

    def _push(self, samples: NDArray[np.float32]) -> Iterator[SoundWindow]:
        return map(self._prepare, self._grid.push(samples[0]))

    def _prepare(self, window: Window) -> SoundWindow:
        model = self._model
        self._count += 1
        if self._count > model.max_windows:
            raise PayloadTooLarge(
                f"the audio is longer than {model.max_audio_s:g} s, which are the {model.max_windows} windows that the "
                f"model is given"
            )
        return SoundWindow(self._inputs(window), window.start, window.start + window.valid_samples)

    def _inputs(self, window: Window) -> Tensors:
        if extractor := self._model.extractor:
            return {"input_features": extractor(window.samples[: window.valid_samples])[None]}
        return {"waveform": window.samples[None], "valid_samples": np.array([[window.valid_samples]], np.int32)}


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Windows of one padded length, for text_embedder. `rows` says which of all windows they are."""

    rows: Sequence[int]
    inputs: Tensors


def token_batches(windows: Sequence[TokenWindow], model: TextModel) -> Iterator[TokenBatch]:
    """All windows, the short ones first, in batches of what the model takes at once."""
    lengths = np.array([len(window.ids) for window in windows])
    sizes = np.array(model.token_buckets)[np.searchsorted(model.token_buckets, lengths)]
    for size in np.unique(sizes).tolist():
        (members,) = np.nonzero(sizes == size)
        for first in range(0, len(members), model.max_batch_size):
            rows = members[first : first + model.max_batch_size].tolist()
            yield TokenBatch(rows, _padded([windows[row].ids for row in rows], size, model.pad_id))


def _padded(ids: Sequence[NDArray[np.int32]], size: int, pad_id: int) -> Tensors:
    input_ids = np.full((len(ids), size), pad_id, np.int32)
    attention_mask = np.zeros((len(ids), size), np.int32)
    for row, mask, tokens in zip(input_ids, attention_mask, ids, strict=True):
        row[: len(tokens)] = tokens
        mask[: len(tokens)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}
