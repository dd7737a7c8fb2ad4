"""One scale for every detector, 0-100, on which 55 (Rekognition's own default) means "rather yes than no".

Each table maps a detector's score to that scale, linearly between its points; below its first point nothing
is reported. The points come from what was measured on photographs, their mirrored, scaled, cropped, darkened
and brightened copies, and on noise, blurred noise, gradients and checks, which show nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Table = Sequence[tuple[float, float]]

# CenterNet runs low. Right answers scored 0.42-0.66; the best wrong one on a picture of nothing scored 0.28.
OBJECTS: Table = ((0.35, 55.0), (0.45, 75.0), (0.60, 90.0), (0.80, 97.0), (1.0, 99.5))

# RapidOCR's mean character probability. Printed lines score 0.95 and more, texture taken for letters 0.81.
TEXT: Table = ((0.85, 65.0), (0.90, 80.0), (0.97, 95.0), (1.0, 99.5))

# A probability already, as good as the user's model; a class under one in ten is no answer.
CLASSIFIER: Table = ((0.10, 10.0), (1.0, 100.0))

# Haar cascades give no probability (the weight of the last stage is the same for right and wrong windows), so
# that what passes gets a fixed confidence: what
# passed was a face in all photographs, and in four of 500 pictures of blurred noise.
FACE = 90.0

# A code that decodes has passed its own error correction.
CODE = 99.0


def calibrate(table: Table, score: float) -> float | None:
    """The confidence, 0-100, that a score stands for; None below the detector's floor."""
    if not score >= table[0][0]:
        return None
    for (low, below), (high, above) in pairwise(table):
        if score <= high:
            return below + (above - below) * (score - low) / (high - low)
    return table[-1][1]
