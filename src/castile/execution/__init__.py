"""Threads, compilation and memory of this process."""
