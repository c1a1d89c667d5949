"""Speech recognition that measures how intelligible decoded speech is; training and evaluation only."""
