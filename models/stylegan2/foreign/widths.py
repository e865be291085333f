"""The rule behind the widths of a network, found again from the widths."""

from collections.abc import Sequence

USUAL = (32768, 16384)  # channel_base of the published networks, which small ones do not tell apart


def find_rule(widths: Sequence[int]) -> tuple[int, int]:
    """channel_base and channel_max of feature maps 4 x 4, 8 x 8, ... of these widths.

    Raises:
        ValueError: when they follow no such rule.
    """
    most = max(widths)
    for base in (*USUAL, widths[-1] * (4 << (len(widths) - 1))):
        if all(width == min(base // (4 << k), most) for k, width in enumerate(widths)):
            return base, most
    raise ValueError(f"no channel_base and channel_max give the widths {', '.join(map(str, widths))}")
