"""Networks on the rows of a table: a perceptron, and the FT-Transformer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tabkd.neural.outputs import Outputs, Shape

__all__ = ["Block", "FTTransformer", "Perceptron"]


class Perceptron(nn.Module):
    """Layers of one width.

    Its hidden states are what goes into the rectifiers, on either side of zero; the first stands for the embedding too.

    Parameters
    ----------
    n_features, n_outputs : int
    width, n_layers : int
        Of the hidden layers.
    dropout : float
    """

    def __init__(self, n_features: int, n_outputs: int, *, width: int, n_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        sizes = [n_features, *[width] * n_layers]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(sizes))
        self.head = nn.Linear(width, n_outputs)
        self.dropout = dropout
        self.shape = Shape(n_layers, width, heads=1)

    def forward(self, features: Tensor, output_hidden_states: bool = False) -> Outputs:
        """Logits of shape (batch, n_outputs) for features of shape (batch, n_features)."""
        states = []
        for layer in self.layers:
            states.append(layer(features))
            features = F.dropout(F.relu(states[-1]), self.dropout, self.training)
        return Outputs(self.head(features), (states[0], *states) if output_hidden_states else ())


class FTTransformer(nn.Module):
    """A token per column and one that gathers what is asked for, through attention.

    Its hidden states are those of the gathering token; that of the embedding is the mean of the columns' tokens.

    Parameters
    ----------
    n_numbers : int
    gaps : sequence of int
        The numbers whose gaps have a token's part of their own.
    sizes : sequence of int
        Number of codes of each category; 0 is an unknown one, which adds nothing.
    n_outputs : int
    width, n_layers, n_heads : int
    dropout : float

    References
    ----------
    Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data", NeurIPS 2021.
    """

    starts: Tensor
    gaps: Tensor

    def __init__(
        self,
        n_numbers: int,
        gaps: Sequence[int],
        sizes: Sequence[int],
        n_outputs: int,
        *,
        width: int,
        n_layers: int,
        n_heads: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        starts = torch.tensor([0, *sizes]).cumsum(0)
        self.register_buffer("starts", starts[:-1])
        self.register_buffer("gaps", torch.tensor(gaps, dtype=torch.long))
        self.n_numbers = n_numbers
        self.weight = nn.Parameter(torch.empty(n_numbers, width))
        self.bias = nn.Parameter(torch.empty(n_numbers + len(sizes), width))
        self.codes = nn.Parameter(torch.empty(int(starts[-1]), width))
        self.gather = nn.Parameter(torch.empty(width))
        self.missing = nn.Parameter(torch.zeros(len(gaps), width))
        for parameter in (self.weight, self.bias, self.codes, self.gather):
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5)
        self.blocks = nn.ModuleList(Block(width, n_heads, dropout, first=i == 0) for i in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, n_outputs)
        self.shape = Shape(n_layers, width, n_heads)

    def forward(self, features: Tensor, output_hidden_states: bool = False) -> Outputs:
        """Logits of shape (batch, n_outputs) for features of shape (batch, n_features)."""
        tokens = self._tokens(features)
        states = [tokens[:, 1:].mean(1)]
        for block in self.blocks:
            # Nobody reads the other tokens after the last block.
            tokens = block(tokens, 1 if block is self.blocks[-1] else tokens.shape[1])
            states.append(tokens[:, 0])
        logits = self.head(F.relu(self.norm(tokens[:, 0])))
        return Outputs(logits, tuple(states) if output_hidden_states else ())

    def _tokens(self, features: Tensor) -> Tensor:
        """The gathering token first, then the numbers' and the categories'."""
        numbers, flags, codes = features.tensor_split((self.n_numbers, self.n_numbers + len(self.gaps)), dim=1)
        tokens = numbers[..., None] * self.weight
        if len(self.gaps):
            tokens = tokens.index_add(1, self.gaps, flags[..., None] * self.missing)
        if len(self.starts):
            known = F.embedding(codes.long() + self.starts, self.codes) * (codes > 0)[..., None]
            tokens = torch.cat([tokens, known], 1)
        return torch.cat([self.gather.expand(len(features), 1, -1), tokens + self.bias], 1)


class Block(nn.Module):
    """Attention, then a gated layer, each with normalisation before it (but for the very first) and a way around it.

    Parameters
    ----------
    width, n_heads : int
    dropout : float
    first : bool
    """

    def __init__(self, width: int, n_heads: int, dropout: float, *, first: bool) -> None:
        super().__init__()
        inner = 4 * width // 3
        self.n_heads, self.dropout = n_heads, dropout
        self.before_attention = nn.Identity() if first else nn.LayerNorm(width)
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.before_gate = nn.LayerNorm(width)
        self.widen, self.gate, self.narrow = nn.Linear(width, inner), nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, tokens: Tensor, n_kept: int) -> Tensor:
        """Tokens of shape (batch, n_kept, width): the first of those given."""
        read, kept = self.before_attention(tokens), tokens[:, :n_kept]
        query, key, value = (
            layer(part).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for layer, part in ((self.query, read[:, :n_kept]), (self.key, read), (self.value, read))
        )
        found = F.scaled_dot_product_attention(query, key, value, dropout_p=self.dropout * self.training)
        kept = kept + F.dropout(self.out(found.transpose(1, 2).flatten(2)), self.dropout, self.training)
        read = self.before_gate(kept)
        return kept + F.dropout(self.narrow(self.widen(read) * F.relu(self.gate(read))), self.dropout, self.training)
