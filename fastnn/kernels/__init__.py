"""Kernels that need a compiler at run time: `numba_cpu` and `numba_cuda`, one file for each family of ops.

Nothing here is imported before its backend is used. The contract is in docs/kernels.md.
"""
