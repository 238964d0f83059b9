"""The errors of PyTorch's compiler, for ``except`` clauses. A function that cannot be captured runs as it is written, and only
``fullgraph=True`` and backends raise."""

from flambeau.compiling.errors import (
    BackendCompilerFailed,
    InternalTorchDynamoError,
    InvalidBackend,
    ResetRequired,
    TorchDynamoException,
    TorchRuntimeError,
    Unsupported,
    UserError,
)

__all__ = [
    "BackendCompilerFailed", "InternalTorchDynamoError", "InvalidBackend", "ResetRequired", "TorchDynamoException", "TorchRuntimeError", "Unsupported", "UserError",
]  # fmt: skip
