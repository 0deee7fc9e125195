"""Numba CPU kernels: every op of the table for one member of a team of threads (docs/kernels.md)."""
