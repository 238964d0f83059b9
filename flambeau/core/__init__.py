"""Ground floor: dtypes, devices, sizes, random streams, configuration. Knows nothing of tensors."""
