"""``torch.distributed.algorithms``: how gradients are sent between processes; there are none to send to."""
