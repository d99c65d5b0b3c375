"""File formats: the `.castile` model file."""

from castile.formats.model_file import ModelFile, read_model_file, write_model_file

__all__ = ["ModelFile", "read_model_file", "write_model_file"]
