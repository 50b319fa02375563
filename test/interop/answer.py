"""Answers conversations with a saved model by transformers' apply_chat_template and generate, as a user would.

  python answer.py MODEL_DIR CONVERSATIONS_JSON MAX_TOKENS

CONVERSATIONS_JSON: a list of lists of messages. Prints {"texts", "ids"} as JSON: the greedy answers, and their token ids
up to and including the token that ends them.
"""
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(model_dir, conversations_json, max_tokens):
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir, dtype=torch.float32)
    texts, ids = [], []
    for messages in json.load(open(conversations_json)):
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            output = model.generate(**inputs, max_new_tokens=int(max_tokens), do_sample=False)
        answer = output[0, inputs["input_ids"].shape[1] :].tolist()
        ids.append(answer)
        texts.append(tokenizer.decode(answer, skip_special_tokens=True))
    print(json.dumps({"texts": texts, "ids": ids}))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
