"""File formats: the `.castile` model file, and text that appears complete or not at all."""

from castile.formats.model_file import ModelFile, read_model_file, write_model_file
from castile.formats.text_file import write_text_file

__all__ = ["ModelFile", "read_model_file", "write_model_file", "write_text_file"]
