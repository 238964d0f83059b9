"""The errors of PyTorch's compiler, for ``except`` clauses: here a function that cannot be captured runs as it is written, and
``fullgraph=True`` raises a ``RuntimeError``."""

__all__ = ["BackendCompilerFailed", "InternalTorchDynamoError", "TorchDynamoException", "TorchRuntimeError", "Unsupported", "UserError"]


class TorchDynamoException(RuntimeError):
    """The base of all."""


class InternalTorchDynamoError(TorchDynamoException):
    """A defect of the compiler."""


class BackendCompilerFailed(TorchDynamoException):
    """The backend has refused."""


class TorchRuntimeError(TorchDynamoException):
    """An operation has failed while a function was captured."""


class Unsupported(TorchDynamoException):
    """Something cannot be captured."""


class UserError(Unsupported):
    """The program asks for what cannot be."""
