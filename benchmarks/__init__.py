"""Benchmarks of Castile: `python -m benchmarks NAME`; the documentation shows only its numbers."""
