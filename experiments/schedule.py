"""Which epochs of a run are looked at."""

from __future__ import annotations


def log_spaced_epochs(last: int, per_decade: int) -> list[int]:
    """Epochs 0, 1, …, last, spaced equally in the logarithm, `per_decade` for each factor of ten, as whole numbers."""
    epochs = {0, last}
    step = 0
    while (epoch := round(10 ** (step / per_decade))) < last:
        epochs.add(epoch)
        step += 1
    return sorted(epochs)
