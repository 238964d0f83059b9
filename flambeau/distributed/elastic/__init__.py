"""``torch.distributed.elastic``: what programs that torchrun starts import."""
