"""The Auricle gateway: HTTP in front of a model repository."""
