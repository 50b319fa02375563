"""Does transformers compute what plumbline says it computes?

  python check_transformers.py MODEL_DIR LOGITS_JSON [BASE_DIR]

MODEL_DIR is a causal language model or, when config.json's architectures says ...ForSequenceClassification, a
scorer with num_labels 1. LOGITS_JSON is plumbline's {"ids": [[...], ...], "logits": [[...], ...]}: for each sequence
the logits of its last position, or [score]. transformers loads the folder in float32 and runs each sequence
alone. Fails (exit code 1) on missing or unexpected weights, on a shape that differs, on a value that is not finite, and
on a difference above 1e-3 times the largest reference magnitude (at least 1).
"""
import json
import math
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

TOLERANCE = 1e-3


def fail(message):
    print(f"FAIL: {message}")
    sys.exit(1)


def main(model_dir, logits_json, base_dir=None):
    torch.set_num_threads(1)
    config = json.loads((Path(model_dir) / "config.json").read_text())
    scorer = any(a.endswith("ForSequenceClassification") for a in config.get("architectures") or [])
    auto = AutoModelForSequenceClassification if scorer else AutoModelForCausalLM
    loading = {"dtype": torch.float32, "attn_implementation": "eager", "output_loading_info": True}
    if base_dir:
        from peft import PeftModel

        model, info = auto.from_pretrained(base_dir, **loading, **({"num_labels": 1} if scorer else {}))
        if scorer:
            info["missing_keys"] = set(info["missing_keys"]) - {"score.weight"}  # the adapter brings it
            info["unexpected_keys"] = set(info["unexpected_keys"]) - {"lm_head.weight"}
        model = PeftModel.from_pretrained(model, Path(model_dir) / "adapter")
    else:
        model, info = auto.from_pretrained(model_dir, **loading)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        if info.get(key):
            fail(f"{model_dir}: {key.replace('_', ' ')}: {sorted(map(str, info[key]))}")
    if scorer and model.config.num_labels != 1:
        fail(f"{model_dir}: num_labels is {model.config.num_labels}, not 1")
    model.eval()

    ours = json.loads(Path(logits_json).read_text())
    if not ours["ids"] or len(ours["ids"]) != len(ours["logits"]):
        fail(f"{logits_json}: {len(ours['ids'])} sequences but {len(ours['logits'])} rows of logits")
    worst = 0.0
    for i, (ids, row) in enumerate(zip(ours["ids"], ours["logits"])):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits
        theirs, row = logits[0] if scorer else logits[0, -1], torch.tensor(row, dtype=torch.float32)
        if row.shape != theirs.shape:
            fail(f"sequence {i}: {row.numel()} values, transformers gives {theirs.numel()}")
        difference = (row - theirs).abs().max().item()
        limit = TOLERANCE * max(1.0, theirs.abs().max().item())
        print(f"sequence {i}: {len(ids)} tokens, max abs difference {difference:.3e} (limit {limit:.3e})")
        if not math.isfinite(difference) or difference > limit:
            fail(f"sequence {i} differs at index {int((row - theirs).abs().argmax())}")
        worst = max(worst, difference)
    print(f"OK: {auto.__name__}, {len(ours['ids'])} sequences, max abs difference {worst:.3e}")


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
