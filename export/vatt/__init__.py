"""VATT: raw audio and text into one space, one transformer tower each (Akbari et al., 2021, arXiv 2104.11178)."""

NAME = "embeddings"  # what `auricle train` calls it
