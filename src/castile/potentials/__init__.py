"""Potentials: terms, their sum, the fit, prediction, the model file."""
