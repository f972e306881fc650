"""The recorded heads of chapter 1, and the recipe that chose them."""

import json
import sys

import numpy as np
import torch
from committed import ROOT

from minidiff.reference import attention_map

sys.path.insert(0, str(ROOT / "book" / "recipes"))

import trained_heads

RECORD = json.loads((ROOT / "book/results/trained_heads.json").read_text())


def test_the_recorded_maps_follow_from_their_queries_and_keys():
    T = len(RECORD["tokens"])
    for head in RECORD["heads"].values():
        q, k, v, A = (np.array(head[name]) for name in ("q", "k", "v", "map"))
        assert len(v) == T
        assert A.shape == (T, T)
        assert np.abs(attention_map(q, k) - A).max() < 1e-3


def test_each_recorded_head_is_the_first_in_its_measure():
    for name, head in RECORD["heads"].items():
        scores = np.array(RECORD["all_heads"][name])
        assert scores[head["layer"], head["head"]] == scores.max()


def test_measures_tell_looking_back_from_copying():
    row = torch.tensor([[5, 7, 9, 5, 7]])
    back, copying = torch.zeros(2, 5, 5)
    back[range(5), [0, 0, 1, 2, 3]] = 1
    copying[range(5), [0, 0, 0, 1, 2]] = 1  # after the earlier 5 and 7
    found = trained_heads.measures(torch.stack([back, copying])[None], row)
    assert found["previous"].tolist() == [[1.0, 0.25]]
    assert found["copying"].tolist() == [[0.0, 1.0]]
