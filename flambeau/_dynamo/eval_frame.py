"""Where programs look for the class of compiled modules."""

from flambeau._dynamo import is_dynamo_supported
from flambeau.compiler import disable, reset
from flambeau.compiling.module import OptimizedModule

__all__ = ["OptimizedModule", "disable", "is_dynamo_supported", "reset"]
