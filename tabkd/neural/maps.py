"""Which layer of the student learns from which layer of the teacher.

Layers count 0 as the embedding and 1..N as the encoders.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import index

__all__ = ["Layers", "check_layers", "layer_pairs"]

#: A name, the teacher's layer as a function of the student's, or pairs (student layer, teacher layer).
Layers = str | Callable[[int], int] | Sequence[tuple[int, int]]

NAMES = ("uniform", "last", "first")


def check_layers(layers: Layers) -> None:
    """Raise unless ``layers`` is one of the forms that :func:`layer_pairs` reads.

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int

    Raises
    ------
    ValueError
        If it is anything else, or an empty list.
    """
    if callable(layers) or (isinstance(layers, str) and layers in NAMES):
        return
    try:
        pairs = [] if isinstance(layers, str) else [(index(m), index(n)) for m, n in layers]
    except (TypeError, ValueError):
        pairs = []
    if not pairs:
        raise ValueError(
            f'layers must be "uniform", "last", "first", a function of the student\'s layer, or pairs '
            f"(student layer, teacher layer), got {layers!r}. Try [(1, 2), (2, 4)]."
        )


def layer_pairs(layers: Layers, n_student: int, n_teacher: int, *, lowest: int = 0) -> list[tuple[int, int]]:
    """Pairs of layers (student, teacher).

    Parameters
    ----------
    layers : str, callable or sequence of pairs of int
        - ``"uniform"``: student layer m learns from teacher layer ceil(m N / M), for m = 1..M, so that the
          last learns from the last;
        - ``"last"``: the last encoder learns from the last, ``"first"``: the first from the first;
        - a function: student layer m learns from teacher layer g(m), for m = 1..M;
        - pairs: as they are.
    n_student : int
        Number M of the student's encoders.
    n_teacher : int
        Number N of the teacher's encoders.
    lowest : int, default=0
        1 if the embedding has nothing to compare, as with attention.

    Returns
    -------
    list of tuple of int

    Raises
    ------
    ValueError
        If a layer does not exist.

    References
    ----------
    Jiao et al., "TinyBERT: Distilling BERT for Natural Language Understanding", 2020: the map n = g(m).

    Examples
    --------
    >>> from tabkd.neural.maps import layer_pairs
    >>> layer_pairs("uniform", 2, 6)
    [(1, 3), (2, 6)]
    >>> layer_pairs("last", 2, 6)
    [(2, 6)]
    >>> layer_pairs(lambda m: m + 4, 2, 6)
    [(1, 5), (2, 6)]
    """
    check_layers(layers)
    if callable(layers):
        pairs = [(m, index(layers(m))) for m in range(1, n_student + 1)]
    elif not isinstance(layers, str):
        pairs = [(index(m), index(n)) for m, n in layers]
    elif layers == "uniform":
        pairs = [(m, -(-m * n_teacher // n_student)) for m in range(1, n_student + 1)]
    else:
        pairs = [(n_student, n_teacher) if layers == "last" else (1, 1)]
    for m, n in pairs:
        if not (lowest <= m <= n_student and lowest <= n <= n_teacher):
            embedding = "0 is the embedding" if lowest == 0 else "the embedding, 0, has no attention"
            raise ValueError(
                f"layers must exist, got the pair ({m}, {n}) for a student of {n_student} encoders and a teacher of "
                f"{n_teacher}. Encoders count from 1; {embedding}."
            )
    return pairs
