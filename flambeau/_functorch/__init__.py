"""What ``functorch`` was before its functions moved to :mod:`torch.func`, and where libraries still look for it."""
