"""losses.json: every formula of SFT, reward model and PPO on small random inputs, in float64.

Written from the papers in plain PyTorch (gradients by autograd); schedules, AdamW and clipping by
transformers and torch themselves. Inputs stand beside the expected values. Masks are ragged; where the
mask is 0 the inputs are not trivial and must not matter, and expected per-token outputs and gradients are 0.
Logits and targets are aligned: logits[b][t] predicts targets[b][t].

Run: python make_losses.py
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import (get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup,
                          get_linear_schedule_with_warmup)

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
G = torch.Generator().manual_seed(20240)
out = {}


def rand(*shape, scale=1.0):
    return scale * torch.randn(*shape, generator=G, dtype=torch.float64)


def var(x):
    return x.clone().requires_grad_(True)


def plain(x):
    if isinstance(x, torch.Tensor):
        return x.detach().tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, (list, tuple)) else x


def grad(value, x):
    return torch.autograd.grad(value, x, retain_graph=True)[0]


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def masked_var(x, mask):  # biased
    return masked_mean((x - masked_mean(x, mask)) ** 2, mask)


def whiten(x, mask, shift_mean):
    mean = masked_mean(x, mask)
    white = (x - mean) * torch.rsqrt(masked_var(x, mask) + 1e-8)
    return (white if shift_mean else white + mean) * mask


def ragged(lengths, T, start=None):
    """1 from start[b] (0) to start[b] + lengths[b]."""
    t = torch.arange(T)[None]
    s = torch.tensor(start or [0] * len(lengths))[:, None]
    return ((t >= s) & (t < s + torch.tensor(lengths)[:, None])).double()


# --- masked statistics -------------------------------------------------------------------------------------
x, mask = rand(4, 6, scale=2) + 0.5, ragged([6, 3, 1, 4], 6, [0, 2, 5, 1])
out["masked"] = dict(
    x=x, mask=mask, mean=masked_mean(x, mask), var=masked_var(x, mask),
    whitenShift=whiten(x, mask, True), whitenNoShift=whiten(x, mask, False))

# --- SFT: token-mean negative log-likelihood ---------------------------------------------------------------
logits, mask = var(rand(3, 5, 7, scale=2)), ragged([3, 5, 2], 5, [1, 0, 3])
targets = torch.randint(0, 7, (3, 5), generator=G)
nll = -torch.log_softmax(logits, -1).gather(-1, targets[..., None])[..., 0]
loss = masked_mean(nll, mask)
out["sft"] = dict(logits=logits, targets=targets, mask=mask, loss=loss, grad=grad(loss, logits))

# --- log-probs of the distribution sampled from: logits / temperature --------------------------------------
logits, T = var(rand(3, 4, 7, scale=2)), 0.7
targets = torch.randint(0, 7, (3, 4), generator=G)
logp = torch.log_softmax(logits / T, -1).gather(-1, targets[..., None])[..., 0]
out["logprobs"] = dict(logits=logits, targets=targets, temperature=T, logprobs=logp, gradOfSum=grad(logp.sum(), logits))

# --- KL estimators, d = log p - log p_ref (Schulman, "Approximating KL divergence") ------------------------
mask = ragged([5, 2, 4], 5)
logp, ref = var(-rand(3, 5).abs() - 0.1), -rand(3, 5).abs() - 0.1
d = logp - ref
kl = dict(k1=d, k2=0.5 * d**2, k3=torch.exp(-d) - 1 + d, abs=d.abs())
out["kl"] = dict(logprobs=logp, refLogprobs=ref, mask=mask, estimators={
    k: dict(value=v * mask, mean=masked_mean(v, mask), grad=grad(masked_mean(v, mask), logp)) for k, v in kl.items()})

# full KL: sum_v p (log p - log q), and the entropy of p
logits, ref_logits, mask = var(rand(3, 5, 7, scale=1.5)), rand(3, 5, 7, scale=1.5), ragged([4, 5, 1], 5)
lp, lq = torch.log_softmax(logits, -1), torch.log_softmax(ref_logits, -1)
full, entropy = (lp.exp() * (lp - lq)).sum(-1), -(lp.exp() * lp).sum(-1)
out["klFull"] = dict(logits=logits, refLogits=ref_logits, mask=mask, value=full * mask,
                     mean=masked_mean(full, mask), grad=grad(masked_mean(full, mask), logits))
out["entropy"] = dict(logits=logits, mask=mask, value=entropy * mask,
                      mean=masked_mean(entropy, mask), grad=grad(masked_mean(entropy, mask), logits))

# --- Bradley-Terry over ranked completions (InstructGPT eq. 1: mean over a prompt's pairs, then over prompts) -
groups = [2, 3, 4, 3, 2]               # completions of each prompt; `rewards` and `ranks` are flat
ranks = [1, 2, 2, 1, 2, 3, 1, 4, 2, 5, 5, 5, 2, 1]  # lower is better; equal = tie, that pair is skipped
rewards = var(rand(sum(groups), scale=1.5))
pairs, start = [], 0                   # per prompt, pairs (i, j) of i < j in flat order, skipping ties
for p, k in enumerate(groups):
    for i in range(start, start + k):
        for j in range(i + 1, start + k):
            if ranks[i] != ranks[j]:
                better, worse = (i, j) if ranks[i] < ranks[j] else (j, i)
                pairs.append(dict(prompt=p, better=better, worse=worse))
    start += k
margins = rand(len(pairs), scale=0.5).abs()


def ranking(margins):
    per_prompt = {}
    for pair, m in zip(pairs, margins):
        d = rewards[pair["better"]] - rewards[pair["worse"]] - m
        per_prompt.setdefault(pair["prompt"], []).append(-F.logsigmoid(d))
    loss = torch.stack([torch.stack(v).mean() for v in per_prompt.values()]).mean()
    return dict(loss=loss, grad=grad(loss, rewards))


out["ranking"] = dict(
    groups=groups, ranks=ranks, rewards=rewards, pairs=pairs, margins=margins,
    plain=ranking(torch.zeros(len(pairs))), withMargin=ranking(margins),
    accuracy=sum(float(rewards[p["better"]] > rewards[p["worse"]]) for p in pairs) / len(pairs))

# --- PPO clipped surrogate (Schulman et al. 2017, eq. 7) ---------------------------------------------------
mask = ragged([6, 2, 4, 5], 6)
old = -rand(4, 6).abs() - 0.2
new, adv, eps = var(old + rand(4, 6, scale=0.6)), rand(4, 6), 0.2
ratio = torch.exp(new - old)
unclipped, clipped = -adv * ratio, -adv * ratio.clamp(1 - eps, 1 + eps)
loss = masked_mean(torch.maximum(unclipped, clipped), mask)
out["ppoPolicy"] = dict(
    logprobs=new, oldLogprobs=old, advantages=adv, mask=mask, clip=eps, loss=loss, grad=grad(loss, new),
    clipFraction=masked_mean((clipped > unclipped).double(), mask),
    approxKl=masked_mean(0.5 * (new - old) ** 2, mask), ratioMean=masked_mean(ratio, mask))

# --- clipped value loss ------------------------------------------------------------------------------------
mask = ragged([3, 6, 5, 1], 6)
v_old, returns, c = rand(4, 6), rand(4, 6), 0.2
v = var(v_old + rand(4, 6, scale=0.3))
v_clip = torch.maximum(torch.minimum(v, v_old + c), v_old - c)
a, b = (v - returns) ** 2, (v_clip - returns) ** 2
loss = 0.5 * masked_mean(torch.maximum(a, b), mask)
out["ppoValue"] = dict(values=v, oldValues=v_old, returns=returns, mask=mask, clip=c, loss=loss,
                       grad=grad(loss, v), clipFraction=masked_mean((b > a).double(), mask))
out["explainedVariance"] = dict(
    values=v_old, returns=v_old * 0.8 + returns * 0.5, mask=mask,
    value=1 - masked_var(v_old * 0.8 + returns * 0.5 - v_old, mask) / masked_var(v_old * 0.8 + returns * 0.5, mask))

# --- per-token rewards and GAE (Schulman et al. 2015), nothing after the last response token ---------------
lengths, beta, scores = [5, 2, 7, 1], 0.15, rand(4)
kl, values, mask = rand(4, 7, scale=0.5), rand(4, 7), ragged([5, 2, 7, 1], 7)
rewards = -beta * kl * mask
for i, n in enumerate(lengths):
    rewards[i, n - 1] += scores[i]


def gae(gamma, lam):
    adv = torch.zeros_like(values)
    for i, n in enumerate(lengths):
        following, next_value = 0.0, 0.0
        for t in reversed(range(n)):
            delta = rewards[i, t] + gamma * next_value - values[i, t]
            following = adv[i, t] = delta + gamma * lam * following
            next_value = values[i, t]
    return dict(gamma=gamma, lambda_=lam, advantages=adv, returns=(adv + values) * mask)


out["gae"] = dict(kl=kl, values=values, mask=mask, lengths=lengths, scores=scores, beta=beta, rewards=rewards,
                  cases=[{k.rstrip("_"): v for k, v in gae(*c).items()} for c in ((1.0, 0.95), (0.99, 0.9))])

# --- adaptive KL controller (Ziegler et al. 2019, section 2.2) ---------------------------------------------
target, horizon, beta, steps = 6.0, 10000.0, 0.2, []
for kl, n in [(0.0, 64), (3.1, 64), (5.7, 256), (6.0, 256), (6.4, 512), (20.0, 512), (8.0, 2000), (-1.0, 128)]:
    beta *= 1 + max(-0.2, min(0.2, kl / target - 1)) * n / horizon
    steps.append(dict(kl=kl, n=n, beta=beta))
out["adaptiveKl"] = dict(start=0.2, target=target, horizon=horizon, steps=steps)

# --- running mean and population variance of all scores so far (Chan et al. 1979) ---------------------------
# Each batch is merged first, then normalised with the statistics that include it. std = sqrt(M2 / count).
count, mean, m2, batches = 0, torch.tensor(0.0), torch.tensor(0.0), []
for n in (4, 1, 7, 3):
    s = 1.5 + rand(n, scale=2)
    bm, bm2, total = s.mean(), ((s - s.mean()) ** 2).sum(), count + n
    delta = bm - mean
    mean, m2, count = mean + delta * n / total, m2 + bm2 + delta**2 * count * n / total, total
    std = (m2 / count).sqrt()
    batches.append(dict(scores=s, count=count, mean=mean, std=std, normalised=(s - mean) / (std + 1e-8),
                        scaledOnly=s / (std + 1e-8)))
everything = torch.cat([b["scores"] for b in batches])
assert torch.allclose(mean, everything.mean()) and torch.allclose(std, everything.std(correction=0))
out["runningNorm"] = dict(eps=1e-8, batches=batches)

# --- expected calibration error (Guo et al. 2017) ----------------------------------------------------------
# p = sigmoid(margin) that the first is preferred; confidence = max(p, 1 - p); correct = the predicted one is
# preferred. Bins [lo, hi), the last closed. overHalf: 10 bins over [0.5, 1]; overUnit: 10 bins over [0, 1].
margin = rand(60, scale=1.5)
preferred = (torch.rand(60, generator=G) < torch.sigmoid(0.6 * margin)).double()  # 1: the first is preferred
p = torch.sigmoid(margin)
conf, correct = torch.maximum(p, 1 - p), ((p >= 0.5).double() == preferred).double()


def ece(lo, hi, n=10):
    index, bins, value = ((conf - lo) / (hi - lo) * n).floor().clamp(0, n - 1), [], 0.0
    for i in range(n):
        m = (index == i).double()
        k = int(m.sum())
        acc, c = (masked_mean(correct, m).item(), masked_mean(conf, m).item()) if k else (None, None)
        value += k / len(conf) * abs(acc - c) if k else 0.0
        bins.append(dict(lo=lo + i * (hi - lo) / n, hi=lo + (i + 1) * (hi - lo) / n, count=k, confidence=c, accuracy=acc))
    return dict(ece=value, bins=bins)


out["calibration"] = dict(margins=margin, firstPreferred=preferred, accuracy=correct.mean(),
                          overHalf=ece(0.5, 1.0), overUnit=ece(0.0, 1.0))

# --- learning-rate multipliers of steps 0..19, warm-up 4 ---------------------------------------------------
def schedule(make):
    opt = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    sched, lrs = make(opt), []
    for _ in range(20):
        lrs.append(sched.get_last_lr()[0])
        opt.step()
        sched.step()
    return lrs


out["schedules"] = dict(
    steps=20, warmup=4,
    linear=schedule(lambda o: get_linear_schedule_with_warmup(o, 4, 20)),
    cosine=schedule(lambda o: get_cosine_schedule_with_warmup(o, 4, 20)),
    constant=schedule(lambda o: get_constant_schedule_with_warmup(o, 4)))

# --- AdamW, ten steps; lr of step t = 1e-2 * (1 - t / 10) --------------------------------------------------
params = [var(rand(3, 4)), var(rand(5))]
start, opt, steps = [p.detach().clone() for p in params], None, []
opt = torch.optim.AdamW(params, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
for t in range(10):
    for p in params:
        p.grad = rand(*p.shape, scale=0.5)
    opt.param_groups[0]["lr"] = lr = 1e-2 * (1 - t / 10)
    opt.step()
    steps.append(dict(lr=lr, grads=[p.grad for p in params], params=[p.detach().clone() for p in params]))
out["adamw"] = dict(betas=[0.9, 0.999], eps=1e-8, weightDecay=0.01, start=start, steps=steps)

# --- clipping by the global norm: scale by min(1, max_norm / (norm + 1e-6)) --------------------------------
def clip(scale):
    params = [var(torch.zeros(3, 4)), var(torch.zeros(5))]
    for p in params:
        p.grad = rand(*p.shape, scale=scale)
    grads = [p.grad.clone() for p in params]
    norm = torch.nn.utils.clip_grad_norm_(params, 1.0)
    return dict(maxNorm=1.0, grads=grads, norm=norm, clipped=[p.grad for p in params])


out["clipGradNorm"] = [clip(1.0), clip(0.05)]

# --- DPO (Rafailov et al. 2023, eq. 7) on summed response log-probs ----------------------------------------
pc, pr, rc, rr = var(rand(5) - 20), var(rand(5) - 20), rand(5) - 20, rand(5) - 20
h = 0.3 * ((pc - rc) - (pr - rr))
loss = -F.logsigmoid(h).mean()
out["dpo"] = dict(beta=0.3, chosen=pc, rejected=pr, refChosen=rc, refRejected=rr, loss=loss, gradChosen=grad(loss, pc),
                  gradRejected=grad(loss, pr), chosenRewards=0.3 * (pc - rc), rejectedRewards=0.3 * (pr - rr),
                  accuracy=(h > 0).double().mean())

(Path(__file__).parent / "losses.json").write_text(
    "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(plain(v), allow_nan=False)}" for k, v in out.items()) + "\n}\n")
