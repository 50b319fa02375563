"""TRL's SFTTrainer on the pairs' better halves. Usage: sft.py INPUT.json"""
import tempfile

from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import SFTConfig, SFTTrainer

from common import AUTOCAST, INPUT, SETTING, WEIGHTS, count, finish, timed, tokenizer

tok = tokenizer()
model = AutoModelForCausalLM.from_pretrained(INPUT["model"], dtype=WEIGHTS)
data = Dataset.from_list([
    {"prompt": p["prompt"], "completion": [{"role": "assistant", "content": p["chosen"]}]} for p in INPUT["pairs"]
])
args = SFTConfig(
    output_dir=tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=INPUT["batchSize"],
    learning_rate=1e-5, max_length=512, packing="packing" in SETTING, bf16=AUTOCAST,
    gradient_checkpointing=False, use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
)
trainer = SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tok)
seconds, _ = timed(trainer.train)
finish(count(tok, INPUT["pairs"], "chosen"), seconds)
