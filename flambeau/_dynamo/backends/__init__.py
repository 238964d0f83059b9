"""Backends of :func:`torch.compile`: see :mod:`flambeau._dynamo.backends.registry`."""
