"""Where backends look for the one that PyTorch has."""

from flambeau._inductor import compile as compile_fx

compile_fx_inner = compile_fx

__all__ = ["compile_fx", "compile_fx_inner"]
