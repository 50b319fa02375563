"""trl.json: losses of preference optimisation and of policy gradients without a critic, by TRL 1.16's own code.

Each trainer's loss method is called as it stands, on a stand-in for the trainer that has the settings it reads and on a
stand-in for the model that returns given log-probabilities; gradients by autograd, in float64. Of ORPO, TRL gives the
odds-ratio part; the likelihood beside it is the paper's mean of each chosen completion (TRL's is one mean over all tokens).

    python3.11 -m venv venv && venv/bin/pip install -r ../../bench/peers/trl-1.16.txt && venv/bin/python make_trl.py
"""
import json
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, RLOOTrainer
from trl.experimental.cpo import CPOTrainer
from trl.experimental.orpo import ORPOTrainer

torch.set_default_dtype(torch.float64)
G = torch.Generator().manual_seed(1)
out = {}


def trainer(**settings):
    self = MagicMock()
    same = lambda x, *_, **__: x
    self.accelerator = SimpleNamespace(
        device="cpu", gather=same, gather_for_metrics=same, reduce=same, num_processes=1, sync_gradients=True)
    self._metrics = defaultdict(lambda: defaultdict(list))
    self.aux_loss_enabled = False
    for name, value in settings.items():
        setattr(self, name, value)
    return self


class Model:
    """Gives these log-probabilities, whatever it is asked; `training` as the trainers read it."""
    training = True

    def __init__(self, of):
        self.of = of

    def __call__(self, input_ids=None, **_):
        logps = self.of(input_ids)
        return SimpleNamespace(log_probs=logps, entropy=logps.detach() * 0, mean_logits=logps.detach() * 0,
                               is_top1=torch.zeros(logps.shape, dtype=torch.bool))


def ragged(lengths, time):
    return (torch.arange(time)[None] < torch.tensor(lengths)[:, None]).double()


def logps_of(mask, scale=1.0):
    return -torch.rand(mask.shape, generator=G) * scale * 2 * mask


# Preference pairs: chosen first, then rejected, as TRL's batches are.
lengths, time, pairs = [4, 6, 2, 5, 3, 6, 1, 4], 6, 4
mask = ragged(lengths, time)
policy, reference = logps_of(mask), logps_of(mask).sum(1)
shifted = torch.cat([torch.zeros(2 * pairs, 1), mask], 1)  # nothing predicts the first token
inputs = {
    "input_ids": torch.zeros(2 * pairs, time + 1, dtype=torch.long), "attention_mask": torch.ones(2 * pairs, time + 1),
    "completion_mask": shifted, "ref_chosen_logps": reference[:pairs], "ref_rejected_logps": reference[pairs:],
}
found = {}
for name, loss_type, beta, smoothing in [
    ("sigmoid", "sigmoid", 0.1, 0.0), ("hinge", "hinge", 0.4, 0.0), ("ipo", "ipo", 0.3, 0.0),
    ("robust", "robust", 0.5, 0.2),
]:
    leaf = policy.clone().requires_grad_(True)
    self = trainer(loss_types=[loss_type], loss_weights=[1.0], beta=beta, label_smoothing=smoothing, ld_alpha=None,
                   precompute_ref_logps=True, f_divergence_type="reverse_kl", use_weighting=False,
                   _total_train_tokens=0, _tp_size=1)
    loss = DPOTrainer._compute_loss(self, Model(lambda _: leaf), inputs, False)
    loss.backward()
    told = {key: value[-1] for key, value in self._metrics["train"].items() if key.split("/")[0] in ("rewards", "logps")}
    found[name] = {"beta": beta, "labelSmoothing": smoothing, "loss": loss.item(), "grad": leaf.grad[:, 0].tolist(),
                   "metrics": told}
sums = policy.sum(1)
means = sums / torch.tensor(lengths)
for name, of in [
    ("conservative", lambda x: CPOTrainer.cpo_loss(  # with log-ratios for log-probabilities it is DPO's
        trainer(alpha=0.0, loss_type="sigmoid", beta=0.3, label_smoothing=0.1),
        x[:pairs] - reference[:pairs], x[pairs:] - reference[pairs:])[0].mean()),
    ("simpo", lambda x: CPOTrainer.cpo_loss(
        trainer(alpha=0.0, loss_type="simpo", beta=2.0, simpo_gamma=0.7, label_smoothing=0.0),
        *(x / torch.tensor(lengths)).chunk(2))[0].mean()),
    ("orpo", lambda x: -(x / torch.tensor(lengths))[:pairs].mean() - ORPOTrainer.odds_ratio_loss(
        trainer(beta=0.25), *(x / torch.tensor(lengths)).chunk(2))[0].mean()),
]:
    leaf = sums.clone().requires_grad_(True)
    loss = of(leaf)
    loss.backward()
    found[name] = {"loss": loss.item(), "grad": leaf.grad.tolist()}
out["pairs"] = {"policy": sums.tolist(), "reference": reference.tolist(), "lengths": lengths, "losses": found}

# KTO: the second call of the model, told by its ids, is of completions of other prompts.
good = [True, False, True, True, False, False, True, False]
elsewhere = logps_of(mask)
for name, shift in [("above", 1.0), ("below", -4.0)]:
    reference_elsewhere = elsewhere.sum(1) - shift - 0.3 * torch.rand(len(good), generator=G)
    leaf = policy.clone().requires_grad_(True)
    self = trainer(calculate_KL=True, beta=0.2, desirable_weight=1.3, undesirable_weight=0.8, loss_type="kto",
                   precompute_ref_logps=True, _total_train_tokens=0, _tp_size=1)
    self._compute_kl_logps = partial(KTOTrainer._compute_kl_logps, self)
    batch = {
        "input_ids": inputs["input_ids"], "attention_mask": inputs["attention_mask"], "completion_mask": shifted,
        "KL_input_ids": inputs["input_ids"] + 1, "KL_attention_mask": inputs["attention_mask"],
        "KL_completion_mask": shifted, "label": torch.tensor(good), "ref_logps": reference,
        "ref_KL_logps": reference_elsewhere,
    }
    loss = KTOTrainer._compute_loss(self, Model(lambda ids: elsewhere if ids.max() else leaf), batch, False)
    loss.backward()
    told = {key: value[-1] for key, value in self._metrics["train"].items() if key.split("/")[0] in ("rewards", "logps")}
    out.setdefault("kto", {})[name] = {
        "good": [int(one) for one in good], "kl": self._metrics["train"]["kl"][-1], "loss": loss.item(),
        "elsewhere": (elsewhere.sum(1) - reference_elsewhere).tolist(), "grad": leaf.grad[:, 0].tolist(), "metrics": told,
    }

# Policy gradients: (responses, time), with ratios on both sides of the clip.
lengths, time = [5, 3, 6, 1, 4, 6], 6
mask = ragged(lengths, time)
policy = logps_of(mask)
old = policy + 0.3 * torch.randn(mask.shape, generator=G) * mask
reference = logps_of(mask)
advantages = torch.randn(len(lengths), generator=G)
common = {
    "prompt_ids": torch.zeros(len(lengths), 2, dtype=torch.long), "prompt_mask": torch.ones(len(lengths), 2),
    "completion_ids": torch.zeros(len(lengths), time, dtype=torch.long), "completion_mask": mask,
    "advantages": advantages,
}
out["gradients"] = {"lengths": lengths, "policy": policy.tolist(), "old": old.tolist(), "reference": reference.tolist(),
                    "mask": mask.tolist(), "advantages": advantages.tolist(), "maxTokens": 8, "losses": {}}
for name, loss_type, level, beta, low, high in [
    ("grpo", "grpo", "token", 0.04, 0.2, 0.2), ("drGrpo", "dr_grpo", "token", 0.0, 0.2, 0.2),
    ("dapo", "dapo", "token", 0.0, 0.2, 0.28), ("gspo", "grpo", "sequence", 0.0, 0.1, 0.15),
]:
    leaf = policy.clone().requires_grad_(True)
    self = trainer(beta=beta, loss_type=loss_type, importance_sampling_level=level, epsilon_low=low, epsilon_high=high,
                   top_entropy_quantile=1.0, off_policy_mask_threshold=None, use_vllm=False,
                   max_completion_length=8, current_gradient_accumulation_steps=1, _entropy_bonus_enabled=False,
                   tools=None, args=SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1))
    self._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, leaf.detach() * 0, None)
    loss = GRPOTrainer._compute_loss(self, Model(None), {
        **common, "old_per_token_logps": old, "ref_per_token_logps": reference, "num_items_in_batch": mask.sum()})
    loss.backward()
    out["gradients"]["losses"][name] = {"klCoef": beta, "low": low, "high": high, "loss": loss.item(),
                                        "grad": leaf.grad.tolist()}
leaf = policy.clone().requires_grad_(True)
self = trainer(epsilon_low=0.2, epsilon_high=0.2, beta=0.0)
self._get_per_token_logps_and_entropies = lambda *_, **__: (leaf, leaf.detach() * 0, None)
loss = RLOOTrainer._compute_loss(self, Model(None), {**common, "old_logps": (old * mask).sum(1)})
loss.backward()
out["gradients"]["losses"]["rloo"] = {"klCoef": 0.0, "low": 0.2, "high": 0.2, "loss": loss.item(),
                                      "grad": leaf.grad.tolist()}

plain = lambda x: x.item() if isinstance(x, torch.Tensor) else {k: plain(v) for k, v in x.items()} if isinstance(
    x, dict) else [plain(v) for v in x] if isinstance(x, list) else x
path = Path(__file__).with_name("trl.json")
path.write_text(json.dumps(plain(out), indent=1) + "\n")
