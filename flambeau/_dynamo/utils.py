"""Where programs look for what can be compiled."""

from flambeau._dynamo import is_compile_supported

__all__ = ["is_compile_supported"]
