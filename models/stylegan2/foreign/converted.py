"""Networks of another program in our names: what every reader of foreign files gives."""

from typing import Any, NamedTuple

from torch import Tensor


class Converted(NamedTuple):
    """Metadata and tensors as a network file of ours holds them.

    `metadata` has the configurations under `generator` and `discriminator`, and under `source` what is known of the
    file: at least `format`, in words such as `StyleGAN2-ADA pickle`. `tensors` are named `G_ema.…`, `G.…`, `D.…`.
    """

    metadata: dict[str, Any]
    tensors: dict[str, Tensor]
