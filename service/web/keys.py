"""API keys: a file of their names and hashes, read again when it changes.

A key is 256 random bits, so its SHA-256 at rest gives nothing away and needs no salt: what is slow to guess is the key
itself. Several keys may have one name, which is what limits and metrics go by: add the new one, then remove the old.
"""

import hashlib
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

logger = logging.getLogger(__name__)

PREFIX = "auricle_"  # so that scanners for leaked secrets know one when they see it
_CHECK_S = 1.0

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Key(BaseModel):
    """One entry of the file. Without limits of its own a key has those of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    created: datetime
    rate_limit: float | None = Field(None, gt=0)  # requests a minute
    max_concurrent_requests: int | None = Field(None, ge=1)


class KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    keys: tuple[Key, ...] = ()

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Raises OSError, and ValueError for what is no file of keys."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except ValidationError as exc:
            raise ValueError(f"{path} is no file of API keys: {exc.error_count()} faults") from None

    def write(self, path: Path) -> None:
        """For its owner alone, and never half: a service that reads it meanwhile finds the old one or the new one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.model_dump_json(indent=2, exclude_none=True) + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)

    def with_new(
        self, name: str, rate_limit: float | None, max_concurrent_requests: int | None
    ) -> tuple["KeyFile", str]:
        """The file with one more key, and the key, which nothing can tell again. Raises ValueError for a bad name."""
        secret = PREFIX + secrets.token_urlsafe(32)
        key = Key(
            name=name,
            sha256=_hash(secret),
            created=datetime.now(UTC).replace(microsecond=0),
            rate_limit=rate_limit,
            max_concurrent_requests=max_concurrent_requests,
        )
        return KeyFile(keys=(*self.keys, key)), secret

    def without(self, name: str, *, keep_newest: bool) -> "KeyFile":
        named = [key for key in self.keys if key.name == name]
        kept = named[-1:] if keep_newest else []
        return KeyFile(keys=tuple(key for key in self.keys if key.name != name or key in kept))


class Keys:
    """The keys that are good at the moment."""

    def __init__(self, path: Path) -> None:
        """Raises what `KeyFile.read` does."""
        self._path = path
        self._seen, self._checked = _stamp(path), time.monotonic()
        self._known = _by_hash(KeyFile.read(path).keys)

    def find(self, secret: str) -> Key | None:
        """The entry of a key. Looked up by its hash, whose timing tells nothing about a key that is not known."""
        if time.monotonic() - self._checked > _CHECK_S:
            self._refresh()
        return self._known.get(_hash(secret))

    def _refresh(self) -> None:
        self._checked = time.monotonic()
        try:
            if (stamp := _stamp(self._path)) != self._seen:
                self._known, self._seen = _by_hash(KeyFile.read(self._path).keys), stamp
                logger.info("read the API keys again", extra={"fields": {"keys": len(self._known)}})
        except (OSError, ValueError) as exc:  # the service goes on with the keys that it knows
            logger.error("the API keys could not be read again: %s", exc)


def _by_hash(keys: Iterable[Key]) -> dict[str, Key]:
    return {key.sha256: key for key in keys}


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes with the file, also where it is a link that is turned to another one."""
    status = path.stat()
    return status.st_mtime_ns, status.st_ino, status.st_size
