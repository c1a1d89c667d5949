"""Where models run: the protocol, and its two implementations."""
