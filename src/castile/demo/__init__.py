"""The demonstration: shipped silicon data, from labels to a tested potential."""
