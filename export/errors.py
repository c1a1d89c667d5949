"""What can go wrong while weights become a served model."""


class ExportError(Exception):
    """Nothing was written: a name, a weight, a shape or a number was not what it must be."""
