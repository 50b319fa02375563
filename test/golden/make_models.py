"""Tiny random causal language models, saved by transformers, with golden outputs.

Makes models/<name>/{config.json, model.safetensors ..., golden.safetensors}.
Reference: transformers' own modelling code, eager attention, float32, eval mode, each sequence
alone (no padding).

golden.safetensors of a causal model:
  ids.0, ids.1            int64 [12], [7]
  logits.0, logits.1      [T, vocab]
  logprobs.0, logprobs.1  [T-1], log p(ids[t+1] | ids[..t])
  loss                    [], mean of -logprob over the 11 + 6 predicted tokens
  grad.<parameter>        d loss / d parameter (a tied head has no entry of its own: its gradient is in the embedding's)
golden.safetensors of the classifier (llama-tiny-reward):
  ids.0, ids.1, score.0, score.1 ([], at the last token), grad.<parameter> of score.0 + score.1

Run: python make_models.py
"""
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification,
    MistralConfig, MistralForCausalLM,
)

torch.set_num_threads(1)
HERE = Path(__file__).parent
VOCAB = 97
COMMON = dict(vocab_size=VOCAB, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
TINY = dict(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=2,
            intermediate_size=64, max_position_embeddings=128, **COMMON)


def rope(theta, **scaling):
    return {"rope_type": "default", "rope_theta": float(theta), **scaling}


LLAMA = dict(TINY, rope_parameters=rope(10000), tie_word_embeddings=False, rms_norm_eps=1e-5)
LLAMA3 = dict(
    TINY, head_dim=12, tie_word_embeddings=True, attention_bias=True, rms_norm_eps=1e-5,
    rope_parameters=rope(500000, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                         original_max_position_embeddings=16))


def randomise(model, seed):
    """Matrices N(0, 0.2²), norm weights 1 + N(0, 0.2²), biases N(0, 0.1²)."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=g)
            is_norm = "norm" in name or ".ln_" in name
            p.copy_(0.1 * noise if name.endswith("bias") else 1 + 0.2 * noise if is_norm else 0.2 * noise)
    return model.eval()


def sequences(seed):
    g = torch.Generator().manual_seed(seed)
    return [torch.randint(3, VOCAB, (n,), generator=g) for n in (12, 7)]


def write(name, model, golden, shard=None):
    out = HERE / "models" / name
    shutil.rmtree(out, ignore_errors=True)
    model.save_pretrained(out, **({"max_shard_size": shard} if shard else {}))
    for n, p in model.named_parameters():
        golden["grad." + n] = p.grad
    save_file({k: v.detach().contiguous() for k, v in golden.items()}, out / "golden.safetensors")
    return out


def causal(name, model, seed, shard=None):
    randomise(model, seed)
    golden, nll = {}, []
    for i, ids in enumerate(sequences(seed + 100)):
        logits = model(input_ids=ids[None]).logits[0]
        logprobs = torch.log_softmax(logits, -1)[:-1].gather(-1, ids[1:, None])[:, 0]
        golden.update({f"ids.{i}": ids, f"logits.{i}": logits, f"logprobs.{i}": logprobs})
        nll.append(-logprobs)
    golden["loss"] = torch.cat(nll).mean()
    golden["loss"].backward()
    return write(name, model, golden, shard)


def legacy_config(out):
    """config.legacy.json: the same config as transformers before version 5 wrote it (rope_theta, rope_scaling)."""
    c = json.loads((out / "config.json").read_text())
    r = c.pop("rope_parameters")
    c["rope_theta"] = r.pop("rope_theta")
    c["rope_scaling"] = None if r["rope_type"] == "default" else r
    c["torch_dtype"] = c.pop("dtype")
    (out / "config.legacy.json").write_text(json.dumps(c, indent=2, sort_keys=True) + "\n")


legacy_config(causal("llama-tiny", LlamaForCausalLM(LlamaConfig(**LLAMA)), 1))
legacy_config(causal("llama3-tiny", LlamaForCausalLM(LlamaConfig(**LLAMA3)), 2))
causal("llama-sharded", LlamaForCausalLM(LlamaConfig(**LLAMA)), 3, shard="40KB")
causal("mistral-tiny", MistralForCausalLM(MistralConfig(
    **TINY, sliding_window=5, rope_parameters=rope(10000), tie_word_embeddings=False)), 4)
causal("gpt2-tiny", GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, **COMMON)), 5)

# The classifier: llama-tiny's backbone under a Linear(hidden, 1) without bias, read at the last token
# (pad_token_id 0 does not occur in the sequences).
reward = randomise(LlamaForSequenceClassification(LlamaConfig(**LLAMA, num_labels=1, pad_token_id=0)), 6)
backbone = randomise(LlamaForCausalLM(LlamaConfig(**LLAMA)), 1).model
reward.model.load_state_dict(backbone.state_dict())
golden = {f"ids.{i}": ids for i, ids in enumerate(sequences(106))}
for i in (0, 1):
    golden[f"score.{i}"] = reward(input_ids=golden[f"ids.{i}"][None]).logits[0, 0]
(golden["score.0"] + golden["score.1"]).backward()
write("llama-tiny-reward", reward, golden)
