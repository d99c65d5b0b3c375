"""Screening of many candidates with a model, and the loop with an oracle."""
