"""`python -m tests.hostile.fuzz PARSER [libFuzzer options]`: coverage-guided, with Atheris, until it finds something.

python -m tests.hostile.fuzz container -max_total_time=60
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["service"]):
    from tests.hostile.parsers import PARSERS, refusing, seeds


def main() -> None:
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        for number, good in enumerate(seeds(name)):
            (Path(folder) / str(number)).write_bytes(good)
        atheris.Setup([sys.argv[0], folder, *options], lambda data: refusing(PARSERS[name], data))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
