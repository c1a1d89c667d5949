"""What every training script shares: schedule, EMA, checkpoints, devices, metrics."""
