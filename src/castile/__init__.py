"""Castile: from quantum-mechanical calculations to a force field you can trust."""
