"""Threads and memory of this process, and task pools over several."""
