"""A small Vocos: mel spectrogram -> waveform."""
