"""A bare training loop on transformers: full rows, no padding, nothing around it. Usage: loop.py INPUT.json"""
import torch
from transformers import AutoModelForCausalLM

from common import INPUT, WEIGHTS, conversation, finish, timed, tokenizer

tok = tokenizer()
model = AutoModelForCausalLM.from_pretrained(INPUT["model"], dtype=WEIGHTS).train()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
texts = [tok.apply_chat_template(conversation(p, "chosen"), tokenize=False).removesuffix("\n") for p in INPUT["pairs"]]
rows = torch.tensor(tok(texts, add_special_tokens=False)["input_ids"])


def epoch():
    for batch in rows.split(INPUT["batchSize"]):
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


seconds, _ = timed(epoch)
finish(rows.numel(), seconds)
