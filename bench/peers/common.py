"""What the peers share: the input file, peak memory, the line of JSON they end with."""
import json
import resource
import sys
import time

import torch
from transformers import AutoTokenizer

torch.manual_seed(1)
INPUT = json.loads(open(sys.argv[1]).read())
SETTING = INPUT["peer"]
AUTOCAST = "autocast" in SETTING
WEIGHTS = torch.bfloat16 if "bf16" in SETTING and not AUTOCAST else torch.float32


def tokenizer():
    tok = AutoTokenizer.from_pretrained(INPUT["model"])
    if tok.pad_token is None or tok.pad_token == tok.eos_token:
        tok.pad_token = "<|endoftext|>"
    return tok


def timed(work):
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def finish(tokens, seconds, **more):
    gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"tokens": tokens, "seconds": seconds, "gb": gb, **more}))


def conversation(pair, side):
    return [*pair["prompt"], {"role": "assistant", "content": pair[side]}]


def count(tok, pairs, *sides):
    """Unpadded tokens of these conversations."""
    texts = [tok.apply_chat_template(conversation(p, s), tokenize=False) for p in pairs for s in sides]
    return sum(len(tok(t, add_special_tokens=False)["input_ids"]) for t in texts)
