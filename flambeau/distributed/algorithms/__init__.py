"""``torch.distributed.algorithms``: how gradients are sent between processes, and how unequal numbers of inputs are dealt with."""
