"""The diagram of an eviction shows what is kept, by head."""

import matplotlib.pyplot as plt

from minidiff.course.cache_diagrams import show_eviction


def test_each_head_keeps_its_own_keys_with_their_positions():
    scores = [[0.9, 0.1, 0.2, 0.8], [0.1, 0.7, 0.6, 0.2]]
    (axis,) = show_eviction(scores, 2, new=1).axes
    right = {}  # row -> positions in the smaller cache, left to right
    for text in axis.texts:
        x, y = text.get_position()
        if text.get_text().isdigit() and x > 4:
            right.setdefault(y, []).append((x, int(text.get_text())))
    shown = [[n for _, n in sorted(right[y])] for y in sorted(right)[::-1]]
    assert shown == [[0, 3, 4], [1, 2, 4]]
    plt.close("all")
