"""TRL's RewardTrainer on the pairs. Usage: reward.py INPUT.json"""
import tempfile

from datasets import Dataset
from transformers import AutoModelForSequenceClassification
from trl import RewardConfig, RewardTrainer

from common import AUTOCAST, INPUT, WEIGHTS, conversation, count, finish, timed, tokenizer

tok = tokenizer()
model = AutoModelForSequenceClassification.from_pretrained(INPUT["model"], num_labels=1, dtype=WEIGHTS)
model.config.pad_token_id = tok.pad_token_id
data = Dataset.from_list([{side: conversation(p, side) for side in ("chosen", "rejected")} for p in INPUT["pairs"]])
args = RewardConfig(
    output_dir=tempfile.mkdtemp(), num_train_epochs=1, per_device_train_batch_size=INPUT["batchSize"],
    learning_rate=1e-5, max_length=512, bf16=AUTOCAST,
    gradient_checkpointing=False, use_cpu=True, report_to=[], save_strategy="no", logging_steps=1, disable_tqdm=True,
)
trainer = RewardTrainer(model=model, args=args, train_dataset=data, processing_class=tok)
seconds, _ = timed(trainer.train)
finish(count(tok, INPUT["pairs"], "chosen", "rejected"), seconds)
