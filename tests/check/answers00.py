"""Chapter 00: right and wrong answers written another way than ours."""

import numpy as np

RIGHT = {
    "0.1": lambda a, b, lam: np.array(
        [x - lam * y for x, y in zip(a, b, strict=True)]
    )
}

WRONG = {
    "0.1": {
        "lam dropped": lambda a, b, lam: np.subtract(a, b),
        "swapped": lambda a, b, lam: -(lam * a - b),
        "lam on both": lambda a, b, lam: lam * a - lam * b,
        "added": lambda a, b, lam: np.add(a, b * lam),
    }
}
