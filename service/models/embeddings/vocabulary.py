"""Text to the ids that the text encoder reads, in windows: a `tokenizers` file at work."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from service.errors import BackendUnavailable, InvalidInput, PayloadTooLarge

# of all texts at once
MAX_CHARS = 1 << 21  # they take seconds to tokenise
MAX_TOKENS = 300_000  # as many as OpenAI takes

_TEXTS_PER_STEP = 64  # what the library keeps of a token is a hundred times its id


@dataclass(frozen=True, eq=False)
class TokenWindow:
    """ids int32 [n], special tokens included, of the characters [char_start, char_end) of a text."""

    ids: NDArray[np.int32]
    char_start: int
    char_end: int


class Vocabulary:
    """Reads `path` once; threads may share it."""

    def __init__(self, path: Path, sha256: str, max_tokens: int, stride_tokens: int) -> None:
        """Raises BackendUnavailable if the file is missing or another one than the model was made with."""
        try:
            data = path.read_bytes()
        except OSError as exc:
            raise BackendUnavailable(
                f"{path.name} of {path.parent.name} is not in this service's model repository: text needs it here also "
                f"where the models run on a Triton server"
            ) from exc
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BackendUnavailable(f"{path.name} of {path.parent.name} is not the one that the model was made with")
        self._tokenizer = Tokenizer.from_buffer(data)
        self._max_tokens = max_tokens
        self.size: int = self._tokenizer.get_vocab_size()
        room = max_tokens - self._tokenizer.num_special_tokens_to_add(is_pair=False)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens, stride=max(0, room - stride_tokens))

    def windows(self, texts: Sequence[str]) -> Iterator[list[TokenWindow]]:
        """The windows of each text, in order.

        Raises PayloadTooLarge for more than the limits, and when it comes to a text without a token InvalidInput.
        """
        if (chars := sum(map(len, texts))) > MAX_CHARS:
            raise PayloadTooLarge(f"the texts have {chars} characters together; the limit is {MAX_CHARS}")
        return self._windows(texts)

    def window(self, ids: Sequence[int]) -> TokenWindow:
        """Ids of this very vocabulary, special tokens included, as they are. Raises InvalidInput."""
        if not 1 <= len(ids) <= self._max_tokens:
            raise InvalidInput(f"there are {len(ids)} token ids; accepted are 1 to {self._max_tokens}; longer as text")
        if not 0 <= min(ids) <= max(ids) < self.size:
            raise InvalidInput(f"a token id is outside 0 to {self.size - 1}")
        return TokenWindow(np.array(ids, np.int32), 0, 0)

    def _windows(self, texts: Sequence[str]) -> Iterator[list[TokenWindow]]:
        left = MAX_TOKENS
        for encoding in self._encode(texts):
            windows = [_window(part) for part in (encoding, *encoding.overflowing)]
            left -= sum(len(window.ids) for window in windows)
            if left < 0:
                raise PayloadTooLarge(f"the texts have more than {MAX_TOKENS} tokens together; send fewer at a time")
            if not windows[0].char_end:
                raise InvalidInput("the text has nothing that the model reads")
            yield windows

    def _encode(self, texts: Sequence[str]) -> Iterator[Encoding]:
        """In steps, and always as a batch: only that leaves the interpreter to others meanwhile."""
        for first in range(0, len(texts), _TEXTS_PER_STEP):
            yield from self._tokenizer.encode_batch(texts[first : first + _TEXTS_PER_STEP])


def _window(encoding: Encoding) -> TokenWindow:
    spans = [span for span, special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not special]
    return TokenWindow(np.array(encoding.ids, np.int32), *((spans[0][0], spans[-1][1]) if spans else (0, 0)))
