"""Building blocks that two systems share, one concept a file."""
