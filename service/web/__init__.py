"""What the gateway does for every capability: problems, limits, telemetry, probes. Knows no model."""
