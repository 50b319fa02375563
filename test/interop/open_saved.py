"""Opens what plumbline saved as a user of transformers and PEFT does, and computes scores and losses.

  python open_saved.py REQUEST_JSON > RESULT_JSON

REQUEST_JSON: {"conversations": [messages, ...], "cases": [{"name", "kind", "folder", "base", "file"}, ...]}. Kinds:
  score    AutoModelForSequenceClassification on apply_chat_template, each conversation alone and all in one padded batch
  loss     AutoModelForCausalLM on apply_chat_template with labels: mean negative log-likelihood of a conversation's tokens
  adapter  the same by PeftModel.from_pretrained, with the adapter in `folder` on the model in `base`
  gguf     the same by the file `file` in `folder`, with gguf_file=
RESULT_JSON: {name: {"values": [a number for each conversation], "batch": [...], "ids": [[token ids], ...], "dtype"}}.

Everything is called with its default settings, and nothing is changed between loading and computing.
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def load(case):
    folder, options = case["folder"], {"gguf_file": case["file"]} if case["kind"] == "gguf" else {}
    if case["kind"] == "score":
        return AutoTokenizer.from_pretrained(folder), AutoModelForSequenceClassification.from_pretrained(folder)
    if case["kind"] == "adapter":
        base = AutoModelForCausalLM.from_pretrained(case["base"])
        return AutoTokenizer.from_pretrained(case["base"]), PeftModel.from_pretrained(base, folder)
    return AutoTokenizer.from_pretrained(folder, **options), AutoModelForCausalLM.from_pretrained(folder, **options)


def compute(case, conversations):
    tokenizer, model = load(case)
    result = {"values": [], "ids": [], "dtype": str(model.dtype).removeprefix("torch.")}
    with torch.no_grad():
        for messages in conversations:
            inputs = tokenizer.apply_chat_template(messages, return_tensors="pt", return_dict=True)
            result["ids"].append(inputs["input_ids"][0].tolist())
            if case["kind"] == "score":
                result["values"].append(model(**inputs).logits[0, 0].item())
            else:
                result["values"].append(model(**inputs, labels=inputs["input_ids"]).loss.item())
        if case["kind"] == "score":
            inputs = tokenizer.apply_chat_template(
                conversations, return_tensors="pt", return_dict=True, padding=True
            )
            result["batch"] = model(**inputs).logits[:, 0].tolist()
    return result


def main(path):
    torch.set_num_threads(1)
    request = json.load(open(path))
    json.dump({case["name"]: compute(case, request["conversations"]) for case in request["cases"]}, sys.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
