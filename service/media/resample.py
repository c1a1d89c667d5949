"""Sample rate conversion with soxr, block by block, exact in length."""

import numpy as np
import soxr
from numpy.typing import NDArray

BLOCKS_PER_S = 10


class Resampler:
    """A stream of blocks [C, n] at one rate to blocks at another; n input samples become ceil(n * out / in).

    soxr's "HQ" keeps 20 bits of precision, and the result is aligned with the input: no delay to cut off. Its last bits
    depend on the sizes of the blocks that it is fed, so it is fed blocks of one size whatever sizes come in: a live
    stream and a file of the same samples give the same result.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int) -> None:
        self._rate_in, self._rate_out, self._channels = rate_in, rate_out, channels
        self._received, self._produced = 0, 0
        self._block = -(-rate_in // BLOCKS_PER_S)
        self._waiting = np.zeros((channels, 0), np.float32)
        self._stream = (
            None if rate_in == rate_out else soxr.ResampleStream(rate_in, rate_out, channels, "float32", quality="HQ")
        )

    def push(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        """[C, n] -> [C, m] of what is final by now; m may be 0."""
        if self._stream is None:
            return block
        self._received += block.shape[1]
        waiting = np.concatenate([self._waiting, block], axis=1)
        whole = waiting.shape[1] // self._block * self._block
        self._waiting = waiting[:, whole:]
        blocks = (waiting[:, first : first + self._block] for first in range(0, whole, self._block))
        return self._keep(np.concatenate([self._waiting[:, :0], *map(self._convert, blocks)], axis=1))

    def finish(self) -> NDArray[np.float32]:
        """The rest [C, m]."""
        if self._stream is None:
            return np.zeros((self._channels, 0), np.float32)
        rest = self._convert(self._waiting, last=True)
        missing = self._length() - self._produced - rest.shape[1]  # soxr rounds the length to the nearest sample
        return self._keep(np.pad(rest, ((0, 0), (0, max(0, missing)))))

    def _convert(self, block: NDArray[np.float32], last: bool = False) -> NDArray[np.float32]:
        assert self._stream is not None
        converted: NDArray[np.float32] = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last).T
        return converted

    def _keep(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        block = block[:, : self._length() - self._produced]
        self._produced += block.shape[1]
        return block

    def _length(self) -> int:
        return -(-self._received * self._rate_out // self._rate_in)
