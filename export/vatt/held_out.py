"""Recordings of packages and voices that training never saw, in pools by what is searched for in them."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, zip_longest

import numpy as np
from numpy.typing import NDArray

from export.metrics import words
from export.vatt.pairs import Pair

MIN_WORDS = 3  # of a sentence

POOLS: dict[str, Callable[[Pair], bool]] = {
    "English sentences": lambda pair: pair.kind == "speech" and pair.lang == "en" and _long(pair),
    "sentences in other languages": lambda pair: pair.kind == "speech" and pair.lang != "en" and _long(pair),
    "spoken words": lambda pair: pair.kind == "speech" and not _long(pair),
    "sounds by name": lambda pair: pair.kind == "effect",
}


def _long(pair: Pair) -> bool:
    return len(words(pair.texts[0])) >= MIN_WORDS


@dataclass(frozen=True)
class Pool:
    """`texts` are those of all its recordings, each once in lower case."""

    name: str
    pairs: tuple[Pair, ...]

    @cached_property
    def texts(self) -> list[str]:
        return list(dict.fromkeys(text.lower() for pair in self.pairs for text in pair.texts))

    @cached_property
    def truth(self) -> NDArray[np.bool_]:
        """[texts, recordings]"""
        true = [{text.lower() for text in pair.texts} for pair in self.pairs]
        return np.array([[text in said for said in true] for text in self.texts])

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """[recordings]: the number of each one's own text."""
        return np.array([self.texts.index(pair.texts[0].lower()) for pair in self.pairs])


def pools(pairs: Sequence[Pair], count: int) -> list[Pool]:
    """At most `count` recordings each, evenly from their packages, the same on every machine."""
    found = [
        Pool(name, tuple(spread([pair for pair in pairs if member(pair)], count))) for name, member in POOLS.items()
    ]
    return [pool for pool in found if len(pool.pairs) > 1]


def spread(pairs: Sequence[Pair], count: int) -> list[Pair]:
    """The first by a digest of their names, one of each package in turn."""
    packages: defaultdict[str, list[Pair]] = defaultdict(list)
    for pair in sorted(pairs, key=lambda one: hashlib.sha256(one.path.name.encode()).digest()):
        packages[pair.package].append(pair)
    turns = chain.from_iterable(zip_longest(*(packages[name] for name in sorted(packages))))
    return [pair for pair in turns if pair is not None][:count]
