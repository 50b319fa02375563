"""TRL 0.11's PPO: the loop that its documentation taught. Usage: ppo.py INPUT.json"""
import torch
from trl import AutoModelForCausalLMWithValueHead, PPOConfig, PPOTrainer

from common import INPUT, SETTING, WEIGHTS, finish, timed, tokenizer

textbook = SETTING == "textbook"
tok = tokenizer()
load = lambda: AutoModelForCausalLMWithValueHead.from_pretrained(INPUT["model"], torch_dtype=WEIGHTS)
policy, reference = load(), load()
config = PPOConfig(
    learning_rate=1e-5, batch_size=len(INPUT["prompts"]), mini_batch_size=2, ppo_epochs=4, log_with=None,
)
trainer = PPOTrainer(config, policy, reference, tok)
queries = [torch.tensor(ids) for ids in INPUT["prompts"]]
n = INPUT["maxTokens"]
options = dict(
    do_sample=True, temperature=1.0, top_k=0, top_p=1.0, min_new_tokens=n, max_new_tokens=n,
    pad_token_id=tok.pad_token_id,
)


def step():
    if textbook:
        responses = [trainer.generate(query, return_prompt=False, **options).squeeze(0) for query in queries]
    else:
        responses = trainer.generate(queries, return_prompt=False, batch_size=len(queries), **options)
    texts = tok.batch_decode(responses)
    scores = [torch.tensor(text.count("e") / max(1, len(text))) for text in texts]
    trainer.step(queries, [r.squeeze() for r in responses], scores)
    return sum(len(r) for r in responses)


step()
seconds, made = 0.0, 0
for _ in range(INPUT["steps"]):
    taken, made = timed(step)
    seconds += taken / INPUT["steps"]
finish(made + sum(len(q) for q in queries), seconds)
