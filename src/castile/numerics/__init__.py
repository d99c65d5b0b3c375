"""Numba kernels: arrays in, arrays out."""

from castile.numerics.compilation import announce_compilation, delay_interruptions, find_cache_folder

find_cache_folder()
announce_compilation()
delay_interruptions()
