"""`python -m service` is `auricle`."""

from service.cli import main

main()
