"""transformers' generate in the type of the setting, one left-padded batch. Usage: generate.py INPUT.json"""
import torch
from transformers import AutoModelForCausalLM

from common import INPUT, WEIGHTS, finish, timed, tokenizer

tok = tokenizer()
model = AutoModelForCausalLM.from_pretrained(INPUT["model"], dtype=WEIGHTS).eval()
batch = tok.pad({"input_ids": INPUT["prompts"]}, padding_side="left", return_tensors="pt")


@torch.inference_mode()
def sample(tokens):
    return model.generate(
        **batch, do_sample=True, temperature=0.9, top_k=0, top_p=1.0,
        min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=tok.pad_token_id,
    )


sample(4)
seconds, out = timed(lambda: sample(INPUT["maxTokens"]))
made = (out.shape[1] - batch["input_ids"].shape[1]) * out.shape[0]
assert made == len(INPUT["prompts"]) * INPUT["maxTokens"], made
finish(made, seconds)
