"""Kernels: how alike two environments are, from their descriptors."""

from castile.kernels.dot_product import DotProductKernel

__all__ = ["DotProductKernel"]
