"""The project's training and test recordings, rebuilt from public Debian packages."""
