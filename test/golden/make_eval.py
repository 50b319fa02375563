"""Logistic regressions with cluster-robust covariances by statsmodels, the length-controlled win rate's fit by scikit-learn,
and the intervals of Bradley-Terry ratings by the formula of arena-rank (H⁻¹ G H⁻¹, each match its own cluster), by statsmodels.

    python3.11 -m venv venv && venv/bin/pip install -r requirements-eval.txt && venv/bin/python make_eval.py
"""

import json
from pathlib import Path

import numpy as np
import statsmodels.api as sm
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)


def numbers(array):
    return np.vectorize(lambda x: float(f"{x:.12g}"))(array).tolist()


def fit(x, y, clusters):
    model = sm.GLM(y, x, family=sm.families.Binomial())
    options = {"groups": clusters, "use_correction": False}
    found = model.fit(tol=1e-14, maxiter=200, cov_type="cluster", cov_kwds=options)
    return {"coefficients": numbers(found.params), "covariance": numbers(found.cov_params())}


regressions = []
for size, features, clusters in [(50, 1, 50), (80, 3, 20), (200, 4, 15)]:
    x = np.column_stack([np.ones(size), rng.normal(size=(size, features - 1))])
    truth = rng.normal(size=features)
    y = (rng.random(size) < 1 / (1 + np.exp(-x @ truth))).astype(float)
    y[rng.random(size) < 0.2] = 0.5
    groups = rng.integers(clusters, size=size) if clusters < size else np.arange(size)
    regressions.append({"x": numbers(x), "y": y.tolist(), "clusters": groups.tolist(), **fit(x, y, groups)})

ratings = []
for policies, matches in [(3, 60), (6, 300)]:
    pairs = [rng.choice(policies, 2, replace=False) for _ in range(matches)]
    truth = rng.normal(size=policies)
    y = np.array([float(rng.random() < 1 / (1 + np.exp(truth[b] - truth[a]))) for a, b in pairs])
    # Against the first policy, whose ability is 0.
    x = np.zeros((matches, policies))
    for row, (a, b) in enumerate(pairs):
        x[row, a], x[row, b] = 1, -1
    found = fit(x[:, 1:], y, np.arange(matches))
    errors = np.sqrt(np.diag(found["covariance"]))
    ratings.append(
        {
            "pairs": [[int(a), int(b)] for a, b in pairs],
            "y": y.tolist(),
            "relative": found["coefficients"],
            "errors": numbers(errors),
        }
    )

lengths = []
for size in [40, 300]:
    difference = rng.normal(100, 400, size)
    p = 1 / (1 + np.exp(-(0.3 + 0.8 * np.tanh(difference / difference.std()))))
    preference = np.clip(p + rng.normal(0, 0.3, size), 0, 1)
    x = np.column_stack([np.ones(size), np.tanh(difference / difference.std())])
    # Soft labels: each row once as won and once as lost, with weights.
    model = LogisticRegression(fit_intercept=False, C=1e9, tol=1e-12, max_iter=10000)
    model.fit(np.vstack([x, x]), np.repeat([1, 0], size), sample_weight=np.concatenate([preference, 1 - preference]))
    lengths.append(
        {
            "difference": numbers(difference),
            "preference": numbers(preference),
            "win_rate": float(1 / (1 + np.exp(-model.coef_[0, 0]))),
        }
    )

Path(__file__).with_name("eval.json").write_text(
    json.dumps({"regressions": regressions, "ratings": ratings, "lengths": lengths}) + "\n"
)
