"""ppo_update.json and ppo_update.safetensors: one whole PPO update on models/llama-tiny.

Reference: transformers' Llama (float32, eager) and plain PyTorch after Schulman et al. 2017, Ziegler et al. 2019
and "The N Implementation Details of RLHF with PPO". Three networks:
  policy     models/llama-tiny (not repeated here)
  reference  ref.<name>: the policy's weights + N(0, 0.02²)
  critic     critic.model.<name>: the policy's backbone + N(0, 0.05²), critic.score.weight (1, hidden), critic.score.bias (1)

Sequence i = queries[i] + responses[i]. For a query of q tokens and a response of n tokens, logits and values of
response token t are read at position q + t - 1, the one that predicts it; logits are divided by the temperature.
Per-token rows of the JSON have the responses' ragged lengths.

Rewards, advantages and values are fixed before the first epoch. Rewards are not whitened; advantages are, over all
response tokens of the batch: (a - mean) * rsqrt(biased variance + 1e-8); `advantages` is whitened and
`advantagesRaw` is not; returns = advantagesRaw + values.
Every mini-batch: loss = policyLoss + vfCoef * valueLoss (valueLoss has the factor 0.5), one backward, clip_grad_norm_
of policy and critic each, a step of each AdamW. Gradient norms are before clipping, the critic's of vfCoef * valueLoss.
policyGrad/criticGrad.<name> of the safetensors are the gradients of the first mini-batch, before clipping.

The same again with a critic that is a head on the policy's own backbone: the JSON's "shared", and tensors whose names
begin with "shared.". Its head begins as critic.score; the value loss moves the backbone too.

Run: python make_ppo_update.py   (after make_models.py)
"""
import copy
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
HERE = Path(__file__).parent
G = torch.Generator().manual_seed(77)
CFG = dict(temperature=0.9, beta=0.15, gamma=1.0, lambda_=0.95, clip=0.2, valueClip=0.2, vfCoef=0.1,
           lr=1e-3, betas=[0.9, 0.999], eps=1e-5, weightDecay=0.0, maxGradNorm=1.0,
           order=[[[2, 0], [1, 3]], [[3, 1], [0, 2]]], scores=[0.7, -0.3, 1.2, 0.1],
           queries=[torch.randint(3, 97, (n,), generator=G).tolist() for n in (3, 5, 4, 6)],
           responses=[torch.randint(3, 97, (n,), generator=G).tolist() for n in (5, 3, 6, 4)])
BATCH = range(4)


def perturb(model, std):
    with torch.no_grad():
        for p in model.parameters():
            p.add_(std * torch.randn(p.shape, generator=G))


policy = AutoModelForCausalLM.from_pretrained(HERE / "models" / "llama-tiny", attn_implementation="eager").eval()
ref, backbone = copy.deepcopy(policy), copy.deepcopy(policy.model)
perturb(ref, 0.02)
perturb(backbone, 0.05)
critic = torch.nn.ModuleDict(dict(model=backbone, score=torch.nn.Linear(32, 1)))
with torch.no_grad():
    critic["score"].weight.copy_(0.1 * torch.randn(1, 32, generator=G))
    critic["score"].bias.fill_(0.05)
tensors = {f"ref.{n}": p.detach().clone() for n, p in ref.named_parameters()}
tensors |= {f"critic.{n}": p.detach().clone() for n, p in critic.named_parameters()}


def at_response(i, per_position):
    """The rows of sequence i that predict its response tokens."""
    q, n = len(CFG["queries"][i]), len(CFG["responses"][i])
    return per_position[q - 1 : q + n - 1]


def ids(i):
    return torch.tensor([CFG["queries"][i] + CFG["responses"][i]])


def logprobs(model, i):
    logits = at_response(i, model(input_ids=ids(i)).logits[0]) / CFG["temperature"]
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(CFG["responses"][i])[:, None])[:, 0]


def values(backbone, score, i):
    return at_response(i, score(backbone(input_ids=ids(i)).last_hidden_state)[0, :, 0])


def update(policy, backbone, score, critic):
    """Trains the policy, and with `critic` the module that the values' parameters belong to: what is learned, measured."""
    # --- before the update ---
    with torch.no_grad():
        old = [logprobs(policy, i) for i in BATCH]
        refs = [logprobs(ref, i) for i in BATCH]
        v_old = [values(backbone, score, i) for i in BATCH]
        rewards, raw = [], []
        for i in BATCH:
            r = -CFG["beta"] * (old[i] - refs[i])
            r[-1] += CFG["scores"][i]
            a, following, next_value = torch.zeros_like(r), 0.0, 0.0
            for t in reversed(range(len(r))):
                delta = r[t] + CFG["gamma"] * next_value - v_old[i][t]
                following = a[t] = delta + CFG["gamma"] * CFG["lambda_"] * following
                next_value = v_old[i][t]
            rewards.append(r)
            raw.append(a)
        returns = [a + v for a, v in zip(raw, v_old)]
        flat = torch.cat(raw)
        adv = [(a - flat.mean()) * torch.rsqrt(flat.var(correction=0) + 1e-8) for a in raw]

    # --- the update ---
    optimizers = [torch.optim.AdamW(m.parameters(), lr=CFG["lr"], betas=CFG["betas"], eps=CFG["eps"],
                                    weight_decay=CFG["weightDecay"]) for m in (policy, critic)]
    steps, grads, eps, c = [], {}, CFG["clip"], CFG["valueClip"]
    for epoch, minibatches in enumerate(CFG["order"]):
        for rows in minibatches:
            pick = lambda xs: torch.cat([xs[i] for i in rows])
            new = torch.cat([logprobs(policy, i) for i in rows])
            v = torch.cat([values(backbone, score, i) for i in rows])
            logratio, A, R, vo = new - pick(old), pick(adv), pick(returns), pick(v_old)
            ratio = logratio.exp()
            plain_term, clip_term = -A * ratio, -A * ratio.clamp(1 - eps, 1 + eps)
            policy_loss = torch.maximum(plain_term, clip_term).mean()
            plain_v, clip_v = (v - R) ** 2, (torch.maximum(torch.minimum(v, vo + c), vo - c) - R) ** 2
            value_loss = 0.5 * torch.maximum(plain_v, clip_v).mean()
            for o in optimizers:
                o.zero_grad()
            (policy_loss + CFG["vfCoef"] * value_loss).backward()
            if not steps:
                grads |= {f"policyGrad.{n}": p.grad.clone() for n, p in policy.named_parameters()}
                grads |= {f"criticGrad.{n}": p.grad.clone() for n, p in critic.named_parameters()}
            norms = [torch.nn.utils.clip_grad_norm_(m.parameters(), CFG["maxGradNorm"]).item() for m in (policy, critic)]
            for o in optimizers:
                o.step()
            steps.append(dict(
                epoch=epoch, rows=rows, policyLoss=policy_loss.item(), valueLoss=value_loss.item(),
                ratioMean=ratio.mean().item(), approxKl=(0.5 * logratio**2).mean().item(),
                clipFraction=(clip_term > plain_term).float().mean().item(),
                valueClipFraction=(clip_v > plain_v).float().mean().item(),
                policyGradNorm=norms[0], criticGradNorm=norms[1]))

    after = {f"policy.after.{n}": p.detach() for n, p in policy.named_parameters()}
    after |= {f"critic.after.{n}": p.detach() for n, p in critic.named_parameters()}
    rows = {k: [x.tolist() for x in v] for k, v in dict(
        oldLogprobs=old, refLogprobs=refs, values=v_old, rewards=rewards, advantagesRaw=raw, advantages=adv,
        returns=returns).items()}
    return {**rows, "steps": steps}, {**grads, **after}


policy2, head = copy.deepcopy(policy), copy.deepcopy(critic["score"])
separate, moved = update(policy, critic["model"], critic["score"], critic)
shared, moved_shared = update(policy2, policy2.model, head, torch.nn.ModuleDict(dict(score=head)))
tensors |= moved | {f"shared.{n}": t for n, t in moved_shared.items()}
save_file({k: v.contiguous() for k, v in tensors.items()}, HERE / "ppo_update.safetensors")
(HERE / "ppo_update.json").write_text(json.dumps(
    {**{k.rstrip("_"): v for k, v in CFG.items()}, **separate, "shared": shared}, indent=1) + "\n")
