"""Active learning: explore with a model, label with an oracle what the model does not know, refit."""
