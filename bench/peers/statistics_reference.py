"""The statistics of scripts/check-statistics.ts, by the libraries that people trust for each, or written with NumPy from the
papers where there is none. Reads [{statistic, inputs}], prints their values, null where a statistic is undefined."""

import json
import math
import re
import sys
import warnings

import krippendorff
import numpy as np
from scipy import optimize, stats
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

warnings.filterwarnings("ignore")


def number(value):
    return None if value is None or not math.isfinite(value) else float(value)


def alpha(case):
    ratings = np.array([[np.nan if r is None else r for r in row] for row in case["ratings"]], dtype=float).T
    try:
        return [number(krippendorff.alpha(reliability_data=ratings, level_of_measurement=case["scale"]))]
    except ValueError:
        return [None]


def kappa(case):
    if not case["pairs"]:
        return [None, None]
    a, b = np.array(case["pairs"]).T
    used = sorted(set(a) | set(b))
    if len(used) < 2:
        return [None, None]
    scale, n = case["scale"], len(a)
    x, y = np.meshgrid(used, used, indexing="ij")
    places = np.arange(len(used))
    if scale == "nominal":
        value = cohen_kappa_score(a, b)
        pa = np.array([(a == u).mean() for u in used])
        pb = np.array([(b == u).mean() for u in used])
        expected = (pa * pb).sum()
        p = stats.binom.cdf((a == b).sum(), n, expected + 0.5 * (1 - expected))
        return [number(value), float(p)]
    if scale == "ordinal":
        value = cohen_kappa_score(a, b, labels=used, weights="linear")
        distance = np.abs(places[:, None] - places[None])
    elif scale == "interval":
        # Labels are whole, so places among all whole numbers between them are values.
        value = cohen_kappa_score(a, b, labels=list(range(min(used), max(used) + 1)), weights="quadratic")
        distance = (x - y) ** 2
    else:
        with np.errstate(invalid="ignore"):
            distance = np.where(x == y, 0, ((x - y) / (x + y)) ** 2)
        observed = np.zeros((len(used), len(used)))
        for i, j in zip(a, b):
            observed[used.index(i), used.index(j)] += 1 / n
        value = 1 - (observed * distance).sum() / (np.outer(observed.sum(1), observed.sum(0)) * distance).sum()
    return [number(value), weighted_p_value([used.index(v) for v in a], [used.index(v) for v in b], distance)]


def weighted_p_value(a, b, distance):
    """One-sample t-test of the infinitesimal jackknife's values of D_o − D_e / 2, each item's weight taken to n + 1."""
    n = len(a)
    if n < 5:
        return 1.0
    d = distance[np.ix_(a, b)].astype(float)
    chance = d.mean()
    # Derivatives by the weight of an item: of the mean D_o, and of the V-statistic D_e.
    values = np.diag(d) - 0.5 * (d.mean(1) + d.mean(0) - chance)
    if values.std() > 0:
        p = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    else:
        p = 0.5 * (1 - np.sign(values.mean()))
    return float(max(p, 0.5**n))


def fleiss(counts):
    counts = np.array(counts)
    sizes = counts.sum(1)
    if (sizes != sizes[0]).any() or sizes[0] < 2 or (counts.sum(0) > 0).sum() < 2:
        return [None]
    return [number(fleiss_kappa(counts))]


def tau(pair):
    return [number(stats.kendalltau(*pair).statistic)] if len(pair[0]) > 1 else [None]


def share(clusters):
    wins = np.array([c["wins"] for c in clusters], dtype=float)
    total = np.array([c["total"] for c in clusters], dtype=float)
    wins, total = wins[total > 0], total[total > 0]
    n = len(wins)
    value = wins.sum() / total.sum() if n else math.nan
    if n < 5:
        return [number(value), None, None]
    # The variance of a ratio by linearisation, as survey packages have it (Korn & Graubard 1998).
    variance = n / (n - 1) * ((wins - value * total) ** 2).sum() / total.sum() ** 2
    effective = value * (1 - value) / variance if variance > 0 else n
    effective *= (stats.norm.ppf(0.975) / stats.t.ppf(0.975, n - 1)) ** 2
    low, high = proportion_confint(value * effective, effective, method="wilson")
    return [number(value), number(max(0, low)), number(min(1, high))]


def expectation_maximisation(rows, sizes, smoothing, steps=None):
    """Dawid & Skene 1979 with whole arrays; labelers of fewer than ten labels have one accuracy for all classes."""
    items, labelers, classes = sizes["items"], sizes["labelers"], sizes["classes"]
    given = np.zeros((items, labelers, classes))
    for row in rows:
        given[row["item"], row["labeler"], row["label"]] += 1
    few = given.sum((0, 2)) < 10
    t = given.sum(1)
    t = np.where(t.sum(1, keepdims=True) > 0, t / np.maximum(t.sum(1, keepdims=True), 1e-300), 1 / classes)
    for step in range(steps or 20000):
        pi = np.einsum("ic,ikl->kcl", t, given) + smoothing
        for k in range(labelers):
            if few[k]:
                accuracy = np.trace(pi[k]) / pi[k].sum()
                pi[k] = np.where(np.eye(classes) > 0, accuracy, (1 - accuracy) / (classes - 1))
            else:
                pi[k] /= pi[k].sum(1, keepdims=True)
        logs = np.log(t.mean(0))[None] + np.einsum("ikl,kcl->ic", given, np.log(pi))
        new = np.exp(logs - logs.max(1, keepdims=True))
        new /= new.sum(1, keepdims=True)
        moved = np.abs(new - t).max()
        t = new
        if steps is None and moved < 1e-12:
            break
    return t


def dawid_skene(case):
    return expectation_maximisation(**case).ravel().tolist()


def labeler_accuracy(case):
    rows, sizes = case["rows"], case["sizes"]
    # Classes are the labels that were given, in the order of their first occurrence.
    seen = {label: i for i, label in enumerate(dict.fromkeys(row["label"] for row in rows))}
    rows = [{**row, "label": seen[row["label"]]} for row in rows]
    sizes = {**sizes, "classes": len(seen)}
    if len(seen) < 2:
        t = np.ones((sizes["items"], 1))
    else:
        t = expectation_maximisation(rows, sizes, 1 / len(seen) ** 2, case["steps"])
    raters = {}
    for row in rows:
        raters.setdefault(row["item"], []).append(row["labeler"])
    compared = {k for all in raters.values() if len(all) > 1 for k in all}
    return [
        float(np.mean([t[row["item"], row["label"]] for row in rows if row["labeler"] == k])) if k in compared else None
        for k in range(sizes["labelers"])
    ]


def reliability(case):
    votes, pairs = case["votes"], case["pairs"]
    prior = np.full(pairs, 0.5)
    for pair, first in case["known"]:
        prior[pair] = 0.95 if first else 0.05
    pair = np.array([v["pair"] for v in votes], dtype=int)
    labeler = np.array([v["labeler"] for v in votes], dtype=int)
    left = np.array([v["firstShownLeft"] for v in votes], dtype=bool)
    first = np.array([v["first"] for v in votes], dtype=float)

    def classes(sides):
        # If the first is better, it is on the left or not; if the second is, it is on the other side.
        if_first = sides[labeler, np.where(left, 0, 1)]
        if_second = sides[labeler, np.where(left, 1, 0)]
        a, b = np.log(prior), np.log(1 - prior)
        np.add.at(a, pair, first * np.log(if_first) + (1 - first) * np.log(1 - if_first))
        np.add.at(b, pair, (1 - first) * np.log(if_second) + first * np.log(1 - if_second))
        return a, b

    def log_posterior(sides):
        a, b = classes(sides)
        # Beta prior of four right and two wrong, half of it for each side.
        return np.logaddexp(a, b).sum() + (2 * np.log(sides) + np.log(1 - sides)).sum()

    start = np.array(case["sides"])
    sigmoid = lambda z: 1 / (1 + np.exp(-z.reshape(start.shape)))
    best = optimize.minimize(
        lambda z: -log_posterior(sigmoid(z)), np.log(start / (1 - start)).ravel(), method="BFGS", tol=1e-10
    )
    a, b = classes(start)
    return [-float(best.fun), *(1 / (1 + np.exp(b - a))).tolist()]


def ece(margins, weights):
    margins, weights = np.array(margins, dtype=float), np.array(weights, dtype=float)
    confidence = 1 / (1 + np.exp(-np.abs(margins)))
    bins = np.minimum(9, np.floor((confidence - 0.5) * 20)).astype(int)
    correct = (np.sign(margins) + 1) / 2
    total, error = weights.sum(), 0.0
    for k in range(10):
        w = weights * (bins == k)
        if w.sum() > 0:
            error += w.sum() / total * abs(np.average(correct, weights=w) - np.average(confidence, weights=w))
    return error


def calibration(case):
    return [ece(case["margins"], case["weights"]) if sum(case["weights"]) else 0.0]


def reward_model(prompts):
    # Integrates over which way round a soft label is, for each pair.
    margins, longer, weights = [], [], []
    for prompt in prompts:
        for pair in prompt["pairs"]:
            better, worse = prompt["rows"][pair["better"]], prompt["rows"][pair["worse"]]
            for sign, p in ((1, pair["probability"]), (-1, 1 - pair["probability"])):
                margins.append(sign * (better["score"] - worse["score"]))
                longer.append(sign * np.sign(better["length"] - worse["length"]))
                weights.append(p * pair["weight"] / len(prompt["pairs"]))
    accuracy_by_prompt = []
    totals = []
    place = 0
    for prompt in prompts:
        w = np.array(weights[place : place + 2 * len(prompt["pairs"])])
        m = np.array(margins[place : place + 2 * len(prompt["pairs"])])
        place += 2 * len(prompt["pairs"])
        accuracy_by_prompt.append(np.average((np.sign(m) + 1) / 2, weights=w))
        totals.append(w.sum())
    return [
        float(np.average(accuracy_by_prompt, weights=totals)),
        float(np.average(margins, weights=weights)),
        float(ece(margins, weights)),
        float(np.average((np.array(longer) + 1) / 2, weights=weights)),
    ]


def scale(margins):
    """Platt's targets (1999) in the likelihood of a temperature: the best factor s, as s / (1 + s)."""
    m = np.array(margins, dtype=float)
    t = (len(m) + 1) / (len(m) + 2)
    loss = lambda s: (t * np.logaddexp(0, -s * m) + (1 - t) * np.logaddexp(0, s * m)).sum()
    if not m.any():
        return [0.0]
    slope = lambda s: -(m * (t - 1 / (1 + np.exp(-s * m)))).sum()
    assert abs(slope(1) - optimize.approx_fprime(np.array([1.0]), lambda s: loss(s[0]), 1e-7)[0]) < 1e-3
    if slope(0) >= 0:
        return [0.0]
    high = 1.0
    while slope(high) < 0:
        high *= 2
    s = optimize.brentq(slope, 0, high, xtol=1e-13)
    return [s / (1 + s)]


def jackknife(clusters):
    x = np.array(clusters)
    n = len(x)
    value = x[:, 0].sum() / x[:, 1].sum()
    left_out = np.array([np.delete(x, i, 0)[:, 0].sum() / np.delete(x, i, 0)[:, 1].sum() for i in range(n)])
    half = stats.t.ppf(0.975, n - 1) * math.sqrt((n - 1) ** 2 / n * left_out.var(ddof=1))
    return [value, value - half, value + half]


def percentiles(sample):
    found = stats.bootstrap(
        (np.array(sample),), np.mean, n_resamples=2000, method="percentile", random_state=0
    ).confidence_interval
    return [found.low, found.high]


def distinct(texts):
    words = [re.findall(r"[\w']+", text.lower()) for text in texts]
    total = sum(map(len, words))
    grams = lambda n: {tuple(w[i : i + n]) for w in words for i in range(len(w) - n + 1)}
    return [len(grams(n)) / total if total else 0.0 for n in (1, 2)]


# In the order of scripts/check-statistics.ts.
references = [
    *[alpha] * 4,
    *[kappa] * 4,
    fleiss,
    tau,
    share,
    dawid_skene,
    labeler_accuracy,
    reliability,
    calibration,
    reward_model,
    scale,
    jackknife,
    percentiles,
    distinct,
]

drawn = json.load(open(sys.argv[1]))
assert len(drawn) == len(references)
values = []
for of, one in zip(references, drawn):
    values.append([of(case) for case in one["inputs"]])
    print(one["statistic"], file=sys.stderr)
json.dump(values, sys.stdout)
