"""int8."""

__all__ = ["to_int8"]


def to_int8(*a, **k): ...
