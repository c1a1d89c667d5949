"""`python -m export export | train | corpus`."""

import logging

from export.cli import app

if __name__ == "__main__":
    logging.basicConfig(format="%(levelname)s %(message)s")
    logging.getLogger("export").setLevel(logging.INFO)
    app(prog_name="python -m export")
