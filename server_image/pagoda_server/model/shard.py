"""The part of a decoder that one rank of a tensor-parallel group holds, and what the ranks must tell each other.

Attention heads and the columns of the MLP are divided (Shoeybi et al., "Megatron-LM", 2019), so a shard is a decoder
with fewer heads and a narrower MLP; embedding and norms are whole on every rank, the rows of the head are divided.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor  # slow to import, and a configuration is read without it

    from pagoda_server.kernels.sum_norm import Shares  # Triton compiles for a GPU, or is absent


@dataclass(frozen=True, slots=True)
class Shard:
    rank: int = 0
    size: int = 1
    """How many ranks there are."""

    def rows_of_head(self, vocab_size: int) -> range:
        """Returns the token ids whose logits this rank computes: as many on each, fewer on the last ones if uneven."""
        width = self.width_of_head(vocab_size)
        return range(min(self.rank * width, vocab_size), min((self.rank + 1) * width, vocab_size))

    def width_of_head(self, vocab_size: int) -> int:
        """Returns how many logits each rank contributes to a gathering; the last ranks pad theirs."""
        return -(-vocab_size // self.size)


class Group(Protocol):
    """The ranks of a model. All of them call the same methods in the same order, with tensors of the same shapes."""

    def sum(self, x: "Tensor") -> "Tensor":
        """Returns the sum of every rank's x, the same bits on each. It may be x itself, which is lost."""

    def shares(self, like: "Tensor", index: int) -> "Shares | None":
        """Returns where the ranks write what `kernels.sum_norm` sums to a tensor like this. None: use `sum`.

        `index`: of the sum within a pass, which has an even number of them; no two in a row get the same place.
        """

    def gather(self, x: "Tensor") -> "Tensor":
        """Gathers x [S, N] → [size, S, N]: every rank's, in their order."""


class Alone:
    """The group of a model that is not divided."""

    def sum(self, x: "Tensor") -> "Tensor":
        return x

    def shares(self, like: "Tensor", index: int) -> None:
        return None

    def gather(self, x: "Tensor") -> "Tensor":
        return x[None]


ALONE = Alone()
