"""What programs that torchrun starts import."""
