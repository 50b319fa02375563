"""Verdicts of IFEval's 25 checks, strict and loose, on texts written for this test, by the authors' program as
lm-evaluation-harness ships it.

Sentences are split by Punkt without a trained model, which needs no download: the texts have no abbreviations.
langdetect's seed is fixed.

    python3.11 -m venv venv && venv/bin/pip install --no-deps -r requirements-ifeval.txt click joblib tqdm six && venv/bin/python make_ifeval.py
"""

import importlib.util
import json
import sys
import types
from pathlib import Path

import langdetect
import nltk

langdetect.DetectorFactory.seed = 0
nltk.data.find = lambda *_: None
sentences = nltk.tokenize.punkt.PunktSentenceTokenizer()
nltk.word_tokenize = lambda text: [
    word for sentence in sentences.tokenize(text) for word in nltk.tokenize.NLTKWordTokenizer().tokenize(sentence)
]

# The checks alone, without the harness and all that it imports.
folder = Path(importlib.util.find_spec("lm_eval").submodule_search_locations[0])
for name in ["lm_eval", "lm_eval.tasks", "lm_eval.tasks.ifeval"]:
    module = types.ModuleType(name)
    module.__path__ = [str(folder.joinpath(*name.split(".")[1:]))]
    sys.modules[name] = module
from lm_eval.tasks.ifeval import instructions_util, utils  # noqa: E402

instructions_util._get_sentence_tokenizer = lambda: sentences

english = "The river rises in the hills and runs through the old town before it meets the sea."
german = "Der Fluss entspringt in den Hügeln und fließt durch die alte Stadt, bevor er das Meer erreicht."
cases = [
    ("keywords:existence", {"keywords": ["river", "Sea"]}, [english, "A river alone.", "Rivers and the deep sea", ""]),
    ("keywords:frequency", {"keyword": "the", "frequency": 4, "relation": "at least"}, [english, "the The THE", "theatre then these the"]),
    ("keywords:frequency", {"keyword": "run", "frequency": 2, "relation": "less than"}, [english, "run, running, rerun", "none"]),
    ("keywords:forbidden_words", {"forbidden_words": ["hill", "cat"]}, [english, "Up the HILL.", "hilly concatenation", "a hill-side", "hügel hill_top"]),
    ("keywords:letter_frequency", {"letter": "e", "let_frequency": 5, "let_relation": "at least"}, [english, "EeEeE", "eeee", "ééééé"]),
    ("keywords:letter_frequency", {"letter": "z", "let_frequency": 1, "let_relation": "less than"}, [english, "buzz"]),
    ("language:response_language", {"language": "de"}, [german, english, "12345", "Sure, here it is:\n" + german]),
    ("language:response_language", {"language": "fa"}, ["رودخانه از تپه‌ها سرچشمه می‌گیرد و از شهر قدیمی می‌گذرد", english]),
    ("length_constraints:number_sentences", {"num_sentences": 3, "relation": "at least"}, ["One is here. Two is there! Is three too?", "Only one here.", "One... two. three", "1. First thing\n2. Second thing", "\"Quite so.\" He left. They stayed.", "No mark\nat all\nhere"]),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"}, ["One sentence alone", "Two are here. See them?", "What?! No."]),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, ["One\n\n***\n\nTwo", "One\n***\nTwo\n***\n", "***\nOne\n***\nTwo", "One\n***\n***\nTwo", "One", "Here:\nOne *** Two"]),
    ("length_constraints:number_words", {"num_words": 5, "relation": "at least"}, ["one two three four five", "one two-three four's", "one, two. three", "größe übung straße façade naïve", "a_b c_d e f"]),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["one two", "one two three", "**one** two"]),
    ("length_constraints:nth_paragraph_first_word", {"first_word": "Then", "nth_paragraph": 2, "num_paragraphs": 2}, ["First this.\n\nThen that.", "First.\n\n\"then,\" she said.", "First.\n\nThenceforth.", "One\n\nTwo\n\nThen", "Only one", "First.\n\n\n\nThen that.", "Intro\n\nFirst.\n\nThen that."]),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, ["Dear [name], meet me at [place].", "Dear [name]", "[a\nb] [c]", "[[a]] []"]),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye.\nP.S. More.", "Bye. p. s. more", "Bye.\nPS more", "P.P.S. More"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["Bye.\nP.P.S More", "Bye.\nP.S. More", "p. p. s"]),
    ("detectable_content:postscript", {"postscript_marker": "NB"}, ["Bye.\nnb: more", "Bye."]),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, ["* a\n* b", "- a\n- b\n- c", "* a\n- b", "** a\n* b", "Here:\n  * a\n\n  * b", "*a*\n* b\ntext", "--\n* a"]),
    ("detectable_format:constrained_response", {}, ["My answer is yes.", "I say: My answer is no. Truly", "my answer is maybe.", "My answer is yes"]),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, ["*one* and *two*", "**one** and more", "**one** and **two**", "* one * two", "*one\ntwo*", "** ** *x*", "***"]),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, ["Section 1\na\nSection 2\nb", "Section 1\na", "SECTION 1\na\nSECTION 2\nb", "Section1 a Section2 b", "Section A\nSection B"]),
    ("detectable_format:json_format", {}, ['{"a": 1}', '```json\n{"a": [1, 2]}\n```', "a: 1", '```\n"x"\n```', 'Here:\n{"a": 1}', "{'a': 1}", '```JSON\n{}\n```', "[1, 2,]"]),
    ("detectable_format:title", {}, ["<<A title>>\ntext", "<A title>", "<< >>", "text <<in the middle>> text", "<<broken\ntitle>>"]),
    ("combination:two_responses", {}, ["one\n******\ntwo", "one ****** one", "one", "one******two******three", "******one******two", "one************two"]),
    ("combination:repeat_prompt", {"prompt_to_repeat": "What is a river?"}, ["What is a river? It is water.", "what IS a river?\nWater", "A river is water", "Sure:\nWhat is a river? Water"]),
    ("startend:end_checker", {"end_phrase": "The end."}, ["It is over. The end.", 'She said "the END."', "The end. Or not", "The end.\n\n", "The end.\nBye"]),
    ("startend:quotation", {}, ['"All of it."', '"Only" this', '"', "'single'", ' "padded" ', '"two" and "three"', '**"bold"**']),
    ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": "at least"}, ["ONE TWO three FOUR", "IT'S HERE", "UP-TO-DATE NASA", "DON'T GO", "A B C", "One Two Three", "(ONE) [TWO] \"THREE\"", "**ONE** *TWO* THREE", "R2D2 X1 Y2"]),
    ("change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": "less than"}, ["NASA is here", "NASA AND ESA"]),
    ("change_case:english_capital", {}, [english.upper(), english, german.upper(), english.upper() + " 12 km"]),
    ("change_case:english_lowercase", {}, [english.lower(), english, german.lower(), english.lower() + " 12 %"]),
    ("punctuation:no_comma", {}, ["No commas here.", "One, two", "A wide ， comma", "1,000"]),
]

rows = []
for id, kwargs, responses in cases:
    for response in responses:
        example = utils.InputExample(key=0, instruction_id_list=[id], prompt="", kwargs=[kwargs])
        strict = utils.test_instruction_following_strict(example, response).follow_instruction_list[0]
        loose = utils.test_instruction_following_loose(example, response).follow_instruction_list[0]
        rows.append({"id": id, "kwargs": kwargs, "response": response, "strict": bool(strict), "loose": bool(loose)})

Path(__file__).with_name("ifeval.json").write_text(
    "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n"
)
print(f"{len(rows)} texts, {len({row['id'] for row in rows})} checks")
