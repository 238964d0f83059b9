"""The engine: from a recorded graph to values. Knows nothing of tensors or gradients."""
