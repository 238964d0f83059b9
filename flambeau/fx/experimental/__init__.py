"""What PyTorch has beside its tracer."""
