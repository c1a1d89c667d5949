"""A small Vocos: mel spectrogram -> waveform."""

NAME = "vocoder"  # what `auricle train` calls it
