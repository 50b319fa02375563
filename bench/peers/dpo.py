"""TRL's DPOTrainer on the pairs. Usage: dpo.py INPUT.json"""
import tempfile

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from common import INPUT, count, finish, timed, tokenizer

setting = INPUT["peer"]
tok = tokenizer()
weights = torch.float32 if setting == "bf16 autocast" else torch.bfloat16
model = AutoModelForCausalLM.from_pretrained(INPUT["model"], dtype=weights)
data = Dataset.from_list([
    {"prompt": p["prompt"], **{side: [{"role": "assistant", "content": p[side]}] for side in ("chosen", "rejected")}}
    for p in INPUT["pairs"]
])
args = DPOConfig(
    output_dir=tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=INPUT["batchSize"],
    learning_rate=1e-5, lr_scheduler_type="constant", max_length=512, bf16=setting == "bf16 autocast",
    gradient_checkpointing=False, use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
)
trainer = DPOTrainer(model=model, args=args, train_dataset=data, processing_class=tok)
seconds, _ = timed(trainer.train)
finish(count(tok, INPUT["pairs"], "chosen", "rejected"), seconds)
