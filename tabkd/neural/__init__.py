"""Transformers and other torch models as teachers and students."""

__all__: list[str] = []
