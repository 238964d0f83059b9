"""Kernels for the CPU: loops to machine code through LLVM. llvmlite is imported when the first one is compiled."""
