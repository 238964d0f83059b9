"""``torch.ao``: where PyTorch keeps quantisation."""
