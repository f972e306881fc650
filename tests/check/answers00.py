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
        "lam on first": lambda a, b, lam: -np.subtract(b, a * lam),
        "brackets": lambda a, b, lam: a * b - b * lam,
        "divided": lambda a, b, lam: a - np.divide(b, lam),
        "second forgotten": lambda a, b, lam: np.add(a, -lam),
        "lam fixed": lambda a, b, lam: (10 * a - 9 * b) / 10,
        "negative numbers removed": lambda a, b, lam: np.where(
            a > lam * b, a - lam * b, 0.0
        ),
        "added": lambda a, b, lam: np.add(a, b * lam),
    }
}
