"""Schemathesis over the OpenAPI document of a running service: generated requests, good and bad, and what is answered.

auricle serve &
python -m tests.hostile.openapi http://127.0.0.1:8080 --examples 200
"""

import argparse
import sys
from collections.abc import Iterator
from itertools import product
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

_PATIENCE_S = 120.0

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
HEAD_TOO_LARGE = 431
_BINARY = (
    *("audio/wav", "audio/flac", "audio/ogg", "audio/mpeg", "audio/mp4", "audio/aac", "audio/webm", "audio/aiff"),
    *("audio/L16", "audio/pcm", "application/x-npz", "application/octet-stream", "application/vnd.auricle.tokens"),
    "application/vnd.safetensors",
)


@schemathesis.serializer(*_BINARY)
def binary(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Raw bodies are sent as they were generated."""
    return value if isinstance(value, bytes) else str(value).encode()


def attack(url: str, examples: int) -> Iterator[tuple[str, str]]:
    """(operation, what is wrong with an answer): good requests and bad ones, at most one fault of each."""
    schema = schemathesis.openapi.from_dict(httpx.get(f"{url}/openapi.json", timeout=_PATIENCE_S).json())
    for operation, mode in product(
        (result.ok() for result in schema.get_all_operations()), schemathesis.GenerationMode
    ):

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def send(case: schemathesis.Case) -> None:
            case.call_and_validate(base_url=url, checks=CHECKS, timeout=_PATIENCE_S)

        try:
            send()
        except Unsatisfiable:  # nothing that is wrong can be sent where nothing is asked for
            continue
        except FailureGroup as exc:
            yield f"{operation.label} ({mode.value})", "; ".join(str(failure) for failure in exc.exceptions)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--examples", type=int, default=100)
    options = parser.parse_args()
    found = list(attack(options.url, options.examples))
    for label, fault in found:
        sys.stdout.write(f"{label}: {fault}\n")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
