"""TRL's DPOTrainer on the pairs. Usage: dpo.py INPUT.json"""
import tempfile

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer

from common import AUTOCAST, INPUT, WEIGHTS, count, finish, timed, tokenizer

tok = tokenizer()
model = AutoModelForCausalLM.from_pretrained(INPUT["model"], dtype=WEIGHTS)
data = Dataset.from_list([
    {"prompt": p["prompt"], **{side: [{"role": "assistant", "content": p[side]}] for side in ("chosen", "rejected")}}
    for p in INPUT["pairs"]
])
args = DPOConfig(
    output_dir=tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=INPUT["batchSize"],
    learning_rate=1e-5, lr_scheduler_type="constant", max_length=512, bf16=AUTOCAST,
    gradient_checkpointing=False, use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
)


class InOrder(DPOTrainer):
    """Takes the pairs in their order, so that both sides' loss curves are of the same steps."""

    def _get_train_sampler(self, dataset=None):
        return torch.utils.data.SequentialSampler(self.train_dataset if dataset is None else dataset)


trainer = InOrder(model=model, args=args, train_dataset=data, processing_class=tok)
seconds, _ = timed(trainer.train)
losses = [float(line["loss"]) for line in trainer.state.log_history if "loss" in line]
finish(count(tok, INPUT["pairs"], "chosen", "rejected"), seconds, losses=losses)
