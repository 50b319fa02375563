"""Agreement statistics of 1,000 random tables, from the libraries that people trust for each.

α: krippendorff; Cohen's κ: scikit-learn's cohen_kappa_score; Fleiss' κ: statsmodels; τ-b: scipy. Where a library gives
no number (one category, nothing in common), the value is null. Dawid-Skene: NumPy, whole arrays, from the paper, run until
nothing moves (crowd-kit's takes zeros for 1e-10 and ends elsewhere).

It runs in the environment of bench/peers/statistics.txt.

    python3.11 -m venv venv && venv/bin/pip install -r ../../bench/peers/statistics.txt && venv/bin/python make_agreement.py
"""

import json
import math
import warnings
from pathlib import Path

import krippendorff
import numpy as np
from scipy.stats import kendalltau
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa

warnings.filterwarnings("ignore")
rng = np.random.default_rng(0)


def number(value):
    return None if value is None or not math.isfinite(value) else float(f"{value:.12g}")


def attempt(of):
    try:
        return number(of())
    except (ValueError, ZeroDivisionError):
        return None


def table(i):
    labelers, items, categories = rng.integers(2, 7), rng.integers(1, 16), rng.integers(2, 7)
    truth = rng.integers(0, categories, items)
    skill = rng.uniform(0, 1, labelers)
    ratings = np.where(
        rng.uniform(size=(labelers, items)) < skill[:, None], truth, rng.integers(0, categories, (labelers, items))
    )
    missing = rng.uniform(size=ratings.shape) < (0 if i % 3 == 0 else rng.uniform(0, 0.6))
    if i % 50 == 1:
        ratings[:] = 1  # one category
    if i % 50 == 2:
        missing = (np.arange(items) % labelers) != np.arange(labelers)[:, None]  # nothing in common
    return np.where(missing, -1, ratings), int(categories)


def alpha(ratings, scale):
    # Ratings from 1 on: a ratio scale has a zero, and 0/0 is no distance.
    values = np.where(ratings < 0, np.nan, ratings + 1.0)
    return attempt(lambda: krippendorff.alpha(reliability_data=values, level_of_measurement=scale))


def cohen(a, b, categories, weights):
    both = (a >= 0) & (b >= 0)
    if not both.any():
        return None
    if len(set(a[both]) | set(b[both])) < 2:
        return None
    return attempt(
        lambda: cohen_kappa_score(a[both], b[both], labels=list(range(categories)), weights=weights)
    )


def fleiss(ratings, categories):
    counts = np.stack([(ratings == c).sum(0) for c in range(categories)], 1)
    sizes = counts.sum(1)
    if (sizes != sizes[0]).any() or sizes[0] < 2 or (counts.sum(0) > 0).sum() < 2:
        return None
    return attempt(lambda: fleiss_kappa(counts))


tables = []
for i in range(1000):
    ratings, categories = table(i)
    a, b = ratings[0], ratings[1]
    both = (a >= 0) & (b >= 0)
    tables.append(
        {
            "ratings": ["".join("." if r < 0 else str(r) for r in row) for row in ratings.tolist()],
            "categories": categories,
            "alpha": [alpha(ratings, scale) for scale in ("nominal", "ordinal", "interval", "ratio")],
            "cohen": [cohen(a, b, categories, weights) for weights in (None, "linear", "quadratic")],
            "fleiss": fleiss(ratings, categories),
            "tau": attempt(lambda: kendalltau(a[both], b[both]).statistic) if both.sum() > 1 else None,
        }
    )


def expectation_maximisation(rows, classes, labelers, items, smoothing):
    """Dawid & Skene 1979 with whole arrays: soft labels T, class prior p, confusions pi, until they stand still."""
    given = np.zeros((items, labelers, classes))
    for item, labeler, label in rows:
        given[item, labeler, label] = 1
    t = given.sum(1) / given.sum((1, 2))[:, None]
    for _ in range(20000):
        pi = np.einsum("ic,ikl->kcl", t, given) + smoothing
        pi /= pi.sum(2, keepdims=True)
        logs = np.log(t.mean(0))[None] + np.einsum("ikl,kcl->ic", given, np.log(pi))
        new = np.exp(logs - logs.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        if np.abs(new - t).max() < 1e-12:
            break
        t = new
    return t


def dawid_skene(seed):
    own = np.random.default_rng(seed)
    classes, labelers, items = 3, 6, 60
    truth = own.integers(0, classes, items)
    skill = own.uniform(0.4, 0.95, labelers)
    rows = []
    for item in range(items):
        for labeler in range(labelers):
            if own.uniform() < 0.8 or labeler == item % labelers:
                right = own.uniform() < skill[labeler]
                rows.append((item, labeler, int(truth[item] if right else own.integers(0, classes))))
    found = expectation_maximisation(rows, classes, labelers, items, smoothing=0.5)
    return {"ratings": rows, "classes": classes, "posteriors": np.round(found, 9).tolist()}


Path(__file__).with_name("agreement.json").write_text(
    json.dumps(
        {
            "tables": tables,
            "dawidSkene": [dawid_skene(s) for s in range(3)],
        },
        separators=(",", ":"),
    )
)
