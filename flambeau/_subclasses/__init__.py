"""``torch._subclasses``: tensors without data that claim to be on a device."""
