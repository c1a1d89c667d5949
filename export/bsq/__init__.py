"""Audio BSQ-ViT: mel spectrogram -> binary tokens -> mel spectrogram."""

NAME = "tokenizer"  # what `auricle train` calls it
