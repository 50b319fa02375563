"""policy_update.json: the first update of RLOO and of REINFORCE on models/llama-tiny, in float64.

Reference: transformers' Llama (float64, eager) and plain PyTorch after Ahmadian et al. 2024, §3. The policy is
models/llama-tiny, the reference the one of ppo_update.safetensors (ref.<name>). Queries, responses and scores are those
of ppo_update.json, each query with two responses: responses[i] and responses[(i + 1) % 4].

A response's score less beta times the sum of its tokens' log-ratios to the reference is what it is rewarded with
(eq. 2). Advantage: less the mean of the query's other responses (RLOO, eq. 8), or of the batch, which is the running
mean of the first step (REINFORCE). Loss: the mean over responses of -advantage * exp(log-prob - log-prob before the
update): no KL penalty is in it, since it is in the reward. At the first update the ratio is 1.

`gradients` holds each parameter's gradient norm and its first values.

Run: python make_policy_update.py   (after make_ppo_update.py)
"""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(1)
HERE = Path(__file__).parent
ppo = json.loads((HERE / "ppo_update.json").read_text())
BETA, TEMPERATURE = 0.3, ppo["temperature"]
QUERIES = [q for q in ppo["queries"] for _ in range(2)]
RESPONSES = [ppo["responses"][(i + k) % 4] for i in range(4) for k in range(2)]
SCORES = [0.7, -0.3, 1.2, 0.1, -0.8, 0.4, 2.0, -1.5]


def open_model():
    model = AutoModelForCausalLM.from_pretrained(HERE / "models" / "llama-tiny", attn_implementation="eager")
    return model.double().eval()


policy, reference = open_model(), open_model()
refs = load_file(HERE / "ppo_update.safetensors")
with torch.no_grad():
    for name, parameter in reference.named_parameters():
        parameter.copy_(refs[f"ref.{name}"].double())


def logprob(model, query, response):
    logits = model(input_ids=torch.tensor([query + response])).logits[0]
    logits = logits[len(query) - 1 : len(query) + len(response) - 1] / TEMPERATURE
    return torch.log_softmax(logits, -1).gather(-1, torch.tensor(response)[:, None]).sum()


pairs = list(zip(QUERIES, RESPONSES))
with torch.no_grad():
    old = torch.stack([logprob(policy, *pair) for pair in pairs])
    kl = old - torch.stack([logprob(reference, *pair) for pair in pairs])
rewards = torch.tensor(SCORES, dtype=torch.float64) - BETA * kl
groups = rewards.view(4, 2)
advantages = dict(rloo=(groups - groups.flip(1)).flatten(), reinforce=rewards - rewards.mean())

found = {}
for algorithm, advantage in advantages.items():
    policy.zero_grad()
    new = torch.stack([logprob(policy, *pair) for pair in pairs])
    loss = -(advantage * (new - old).exp()).mean()
    loss.backward()
    grads = {name: p.grad for name, p in policy.named_parameters()}
    found[algorithm] = dict(
        advantages=advantage.tolist(), loss=loss.item(),
        gradNorm=torch.stack([g.norm() for g in grads.values()]).norm().item(),
        gradients={n: dict(norm=g.norm().item(), first=g.flatten()[:6].tolist()) for n, g in grads.items()})
(HERE / "policy_update.json").write_text(json.dumps(
    dict(beta=BETA, temperature=TEMPERATURE, queries=QUERIES, responses=RESPONSES, scores=SCORES,
         kl=kl.tolist(), **found), indent=1) + "\n")
