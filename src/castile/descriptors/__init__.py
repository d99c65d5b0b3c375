"""Descriptors of atomic environments and structures."""
