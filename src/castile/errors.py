"""Exceptions of Castile: every error names what is wrong, its value and the remedy."""


class CastileError(Exception):
    """Base of all errors that Castile raises on purpose."""


class InputError(CastileError, ValueError):
    """A structure, label or argument that cannot be used; the message names it and the remedy."""


class FitError(CastileError):
    """A fit that cannot be carried out with the given data and settings."""


class NotFittedError(CastileError, ValueError, AttributeError):
    """A model that is used before it was fitted."""


class ModelFileError(CastileError):
    """A model file that is truncated, edited, of a newer version, or not a Castile model."""


class SimulationError(CastileError):
    """A simulation stopped because its result would be meaningless."""


class WorkerError(CastileError):
    """Worker processes that do not start, are lost, or die of an item."""
