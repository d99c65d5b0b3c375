"""Numba kernels: arrays in, arrays out."""

from castile.numerics.compilation import announce_compilation, find_cache_folder

find_cache_folder()
announce_compilation()
