"""The errors of ``torch.compile``, by PyTorch's names: ``torch._dynamo.exc``."""

from __future__ import annotations

__all__ = [
    "BackendCompilerFailed", "InternalTorchDynamoError", "InvalidBackend", "ResetRequired", "TorchDynamoException", "TorchRuntimeError", "Unsupported", "UserError",
]  # fmt: skip


class TorchDynamoException(RuntimeError):
    """The base of all."""


class InternalTorchDynamoError(TorchDynamoException):
    """A defect of the compiler."""


class InvalidBackend(TorchDynamoException):
    """There is no backend of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Invalid backend: {name!r}, see `torch._dynamo.list_backends()` for available backends.")


class BackendCompilerFailed(TorchDynamoException):
    """A backend has raised; ``inner_exception`` is what."""

    def __init__(self, backend_name: str, inner_exception: Exception) -> None:
        self.backend_name, self.inner_exception = backend_name, inner_exception
        super().__init__(f"backend={backend_name!r} raised:\n{type(inner_exception).__name__}: {inner_exception}")


class TorchRuntimeError(TorchDynamoException):
    """An operation has failed while a function was captured."""


class ResetRequired(TorchDynamoException):
    """``torch._dynamo.reset()`` has to be called first. flambeau never asks for it."""


class Unsupported(TorchDynamoException):
    """A function that cannot be captured as a whole, which ``fullgraph=True`` asks for."""


class UserError(Unsupported):
    """The program asks for what cannot be."""
