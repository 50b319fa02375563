"""Bradley-Terry ratings and their sandwich intervals by arena-rank (LMArena's leaderboard; JAX), with and without style.

    python3.11 -m venv venv && venv/bin/pip install -r requirements-arena-rank.txt && venv/bin/python make_arena_rank.py

Ratings are log-abilities: arena-rank's are 400 / log 10 times as large, around 1000.
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
from arena_rank.models.bradley_terry import BradleyTerry
from arena_rank.models.contextual_bradley_terry import ContextualBradleyTerry
from arena_rank.utils.data_utils import ContextualPairDataset, PairDataset

rng = np.random.default_rng(0)
scale = 400 / math.log(10)


def numbers(array):
    return [float(f"{x:.10g}") for x in np.asarray(array)]


def simulate(policies, matches):
    abilities = rng.normal(size=policies)
    style = rng.normal(size=(matches, 2))
    pairs = np.array([rng.choice(policies, 2, replace=False) for _ in range(matches)])
    logits = abilities[pairs[:, 0]] - abilities[pairs[:, 1]] + style @ [0.7, -0.3]
    outcomes = np.where(rng.random(matches) < 1 / (1 + np.exp(-logits)), 1.0, 0.0)
    outcomes[rng.random(matches) < 0.2] = 0.5
    return pairs, outcomes, np.round(style, 6)


def table(pairs, outcomes):
    winner = {1.0: "model_a", 0.0: "model_b", 0.5: "tie"}
    return pd.DataFrame(
        {
            "model_a": [str(a) for a, _ in pairs],
            "model_b": [str(b) for _, b in pairs],
            "winner": [winner[outcome] for outcome in outcomes],
        }
    )


def result(found):
    log_ability = {name: (np.asarray(found[key]) - 1000) / scale for name, key in
                   [("ratings", "ratings"), ("low", "rating_lower"), ("high", "rating_upper")]}
    return {name: numbers(values) for name, values in log_ability.items()}


plain, styled = [], []
for policies, matches in [(3, 80), (5, 300)]:
    pairs, outcomes, style = simulate(policies, matches)
    fixture = {"pairs": pairs.tolist(), "outcomes": outcomes.tolist()}
    data = PairDataset.from_pandas(table(pairs, outcomes))
    plain.append({**fixture, **result(BradleyTerry(policies, ftol=1e-14).compute_ratings_and_cis(data))})

    frame = table(pairs, outcomes).assign(length=style[:, 0], lists=style[:, 1])
    data = ContextualPairDataset.from_pandas(
        frame, ["length", "lists"], reweighted=False, normalize_features=False
    )
    # Its penalty is on the mean log-likelihood: 1 / matches is a ridge of 1 on the sum.
    model = ContextualBradleyTerry(policies, 2, reg=1 / matches, ftol=1e-14)
    found = model.compute_ratings_and_cis(data)
    styled.append(
        {**fixture, "style": style.tolist(), **result(found), "coefficients": numbers(found["coeffs"])}
    )

out = Path(__file__).with_name("arena-rank.json")
out.write_text(json.dumps({"plain": plain, "styled": styled}, separators=(",", ":")) + "\n")
