// node_modules/.bin/tsx test/interop/logits.ts MODEL_DIR > LOGITS_JSON: what check_transformers.py compares.

import { pack } from "../../src/batch/pack.ts";
import { openModel } from "../../src/models/open.ts";
import { noGrad, scope } from "../../src/tensor/index.ts";

const texts = [
  "Hello",
  "The capital of France is",
  "Name three fruits, one a line, and end with the word done.",
  "Répondez en français: où est la gare? 北京在哪里? 🙂",
  `${"A long text has many words, and each of them is read. ".repeat(20)}The end`,
];
const model = openModel(process.argv[2] as string, { dtype: "float32" });
const ids = texts.map((text) => model.text.encode(text));
const logits = ids.map((sequence) =>
  noGrad(() =>
    scope(() => {
      const last = model.hidden(pack([sequence])).narrow(0, sequence.length - 1, 1);
      // transformers knows the head and not the shift that normalises its scores.
      return (
        model.head === "lm" ? model.logits(last) : model.scores(last).sub(model.scoreShift)
      ).toArray() as number[];
    }),
  ),
);
console.log(JSON.stringify({ ids, logits }));
