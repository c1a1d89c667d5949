"""``python -m export.corpus``."""

import logging

import typer
from rich.logging import RichHandler

from export.corpus.command import CONSOLE, corpus

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=CONSOLE)])
    typer.run(corpus)
