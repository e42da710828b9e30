"""Transformers and other networks of torch as teachers and students."""
