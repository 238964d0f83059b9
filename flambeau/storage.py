"""``torch.storage``: the memory of tensors, as programs see it."""

from flambeau.tensor.storages import UntypedStorage
from flambeau.tensor.typed_storages import TypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
