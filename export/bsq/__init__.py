"""Audio BSQ-ViT: mel spectrogram -> binary tokens -> mel spectrogram."""
