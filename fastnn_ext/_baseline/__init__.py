"""Kernels for any CPU of this architecture."""
