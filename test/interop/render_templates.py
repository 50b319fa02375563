"""Renders conversations with chat templates by transformers' apply_chat_template.

  python render_templates.py REQUEST_JSON > RESULT_JSON

REQUEST_JSON: {"tokenizer": folder, "templates": {name: Jinja source}, "conversations": [{"name", "messages", "tools"}]}.
RESULT_JSON: for each template and conversation {"text", "ids", "prompt"} with the text of the conversation, its token ids
and the text of all but its last message with the generation prompt; "mask" of the tokens where the template has generation
marks; or {"error"} where the template refuses the conversation.
"""
import json
import re
import sys

from transformers import AutoTokenizer


def render(tokenizer, template, messages, tools):
    options = {"tools": tools, "chat_template": template}
    result = {
        "text": tokenizer.apply_chat_template(messages, tokenize=False, **options),
        "prompt": tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True, **options),
    }
    marks = re.search(r"\{%-?\s*generation\s*-?%\}", template) is not None
    encoded = tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_assistant_tokens_mask=marks, **options
    )
    result["ids"] = encoded["input_ids"]
    if marks:
        result["mask"] = encoded["assistant_masks"]
    return result


def main(path):
    request = json.load(open(path))
    tokenizer = AutoTokenizer.from_pretrained(request["tokenizer"])
    results = {}
    for name, template in request["templates"].items():
        results[name] = {}
        for conversation in request["conversations"]:
            try:
                result = render(tokenizer, template, conversation["messages"], conversation.get("tools"))
            except Exception as error:  # templates raise whatever they like
                result = {"error": f"{type(error).__name__}: {error}"}
            results[name][conversation["name"]] = result
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
