"""The README's figures are those of the records."""

import json
import re

from committed import ROOT

RESULTS = ROOT / "book" / "results"
README = (ROOT / "README.md").read_text(encoding="utf-8")


def times(name, key, **size):
    rows = json.loads((RESULTS / name).read_text())["rows"]
    return {
        row["peer"]: row[key]
        for row in rows
        if key in row and all(row[n] == x for n, x in size.items())
    }


def test_how_fast():
    said = re.findall(
        r"^\| (\d+), (\d+) \| ([.\d]+) \| ([.\d]+) \| ([.\d]+) \|$",
        README,
        re.MULTILINE,
    )
    assert len(said) == 6
    for D, T, *ratios in said:
        ms = times("bench_attention.json", "train_ms", D=int(D), T=int(T))
        ours = ms.pop("diff/triton")
        best = min(t for n, t in ms.items() if n.startswith(("diff", "hf-")))
        others = best, ms["plain/flash"], ms["plain/cudnn"]
        assert ratios == [f"{other / ours:.2f}" for other in others]


def test_how_fast_a_whole_model_trains():
    for peer in ("cudnn", "flash"):
        ratios = []
        for T in (2048, 8192):
            ms = times(f"bench_train_gpu_{T}.json", "train_ms")
            ratios.append(f"{ms[f'plain/{peer}'] / ms['diff/triton']:.2f}")
        if peer == "cudnn":
            said = "{} (2048 tokens in a row) and {} (8192)"
        else:
            said = "{} and {} on FlashAttention-2"
        assert said.format(*ratios) in README
