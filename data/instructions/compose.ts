// Writes prompts.jsonl, the same each time: npx tsx data/instructions/compose.ts
import { fileURLToPath } from "node:url";
import { shuffled } from "../../src/data/split.ts";
import { writeJsonl } from "../../src/data/jsonl.ts";
import { type Constraint, type Instruction, instructionSchema } from "../../src/quickstart/task.ts";
import { type Topic, topics } from "./topics.ts";

type Kind = Constraint["kind"];

/** A constraint, and ways to ask for it: as the request itself, or as a sentence added to another request. */
interface Asked {
  constraint: Constraint;
  alone: string[];
  added: string[];
}

const numbers = ["zero", "one", "two", "three", "four"];
const plural = (n: number, word: string) => `${numbers[n]} ${word}${n === 1 ? "" : "s"}`;
const capital = (s: string) => s.charAt(0).toUpperCase() + s.slice(1);

/** The `turn`-th request of a kind about a topic; turns run through numbers, words and phrasings evenly. */
function ask(kind: Kind, topic: Topic, turn: number, inPair: boolean): Asked {
  const t = topic.name;
  const pick = <T>(list: readonly T[]) => list[turn % list.length] as T;
  switch (kind) {
    case "maxWords": {
      const n = pick(inPair ? [12, 15, 20, 10] : [12, 10, 15, 8, 20]);
      return {
        constraint: { kind, n },
        alone: [
          `Tell me about ${t} in at most ${n} words.`,
          `In ${n} words or fewer, what do you think of ${t}?`,
          `Describe ${t} in no more than ${n} words.`,
          `Say something about ${t}. Use ${n} words at most.`,
          `What is special about ${t}? Answer in ${n} words or less.`,
        ],
        added: [
          `Use at most ${n} words.`,
          `Keep it to ${n} words or fewer.`,
          `No more than ${n} words, please.`,
        ],
      };
    }
    case "lowercase":
      return {
        constraint: { kind },
        alone: [
          `Write one sentence about ${t}, all in lowercase.`,
          `Tell me about ${t} using only lowercase letters.`,
          `Say something short about ${t} without any capital letters.`,
          `Describe ${t}. Write everything in lowercase.`,
        ],
        added: [
          "Use only lowercase letters.",
          "Write it all in lowercase.",
          "Don't use any capital letters.",
        ],
      };
    case "uppercase":
      return {
        constraint: { kind },
        alone: [
          `Write a short sentence about ${t} IN ALL CAPITAL LETTERS.`,
          `Tell me about ${t}, writing every word in uppercase.`,
          `Shout something nice about ${t}: use only capital letters.`,
        ],
        added: ["Write every word in capital letters.", "Use only uppercase letters."],
      };
    case "noCommas":
      return {
        constraint: { kind },
        alone: [
          `Describe ${t} without using commas.`,
          `Tell me about ${t}. Do not use any commas.`,
          `Write a few words about ${t} with no commas at all.`,
          `What do people like about ${t}? Answer without a single comma.`,
        ],
        added: ["Do not use commas.", "Leave out all commas.", "Write it without commas."],
      };
    case "bullets": {
      const n = pick([3, 2, 3, 4]);
      return {
        constraint: { kind, n },
        alone: [
          `Give exactly ${n} bullet points about ${t}, each starting with "- ".`,
          `List ${numbers[n]} facts about ${t} as bullet points that start with "- ".`,
          `Write ${numbers[n]} short bullets about ${t}. Begin each line with "- ".`,
          `Name ${n} things people like about ${t}, one per line, each line starting with "- ".`,
        ],
        added: [`Answer with exactly ${n} bullet points, each starting with "- ".`],
      };
    }
    case "numbered": {
      const n = pick([2, 3, 3]);
      return {
        constraint: { kind, n },
        alone: [
          `Write a numbered list of ${numbers[n]} things about ${t}, like "1. ...".`,
          `Give ${n} reasons to like ${t} as a numbered list.`,
          `List ${n} facts about ${t}, numbered from 1 to ${n}.`,
        ],
        added: [`Answer with a numbered list of ${n} items.`],
      };
    }
    case "startsWith": {
      const text = pick([
        `The best thing about ${t} is`,
        `I love ${t} because`,
        `When I think of ${t},`,
        `Without ${t},`,
        "Every day",
        "Long ago",
        "Imagine",
      ]);
      return {
        constraint: { kind, text },
        alone: [
          `Write a sentence about ${t} that starts with "${text}".`,
          `Tell me something about ${t}. Begin with the words "${text}".`,
          `Start your answer with "${text}" and write about ${t}.`,
        ],
        added: [`Start with "${text}".`, `Begin your answer with "${text}".`],
      };
    }
    case "endsWith": {
      const text = pick([
        "Simple as that.",
        "How lovely!",
        "That is all.",
        "Try it and see.",
        "What a joy!",
        "The end.",
      ]);
      return {
        constraint: { kind, text },
        alone: [
          `Write about ${t} and end with "${text}"`,
          `Tell me something about ${t}. Finish with the words "${text}"`,
          `Say a little about ${t}. The last words must be "${text}"`,
        ],
        added: [`End with "${text}"`, `Finish with the words "${text}"`],
      };
    }
    case "endsWithQuestion":
      return {
        constraint: { kind },
        alone: [
          `Write about ${t} and end with a question.`,
          `Tell me something about ${t}, then ask me a question.`,
          `Say something about ${t} and finish by asking a question.`,
          `Give me one fact about ${t} and then ask a question about it.`,
        ],
        added: ["End with a question.", "Finish by asking me a question."],
      };
    case "includes": {
      const [a, b] = topic.include;
      const words = pick([[a, b], [a], [a, b], [b]]);
      const quoted = words.map((word) => `"${word}"`).join(" and ");
      const noun = `word${words.length > 1 ? "s" : ""} ${quoted}`;
      return {
        constraint: { kind, words },
        alone: [
          `Say something about ${t} and use the ${noun}.`,
          `Write about ${t} with the ${noun} in your answer.`,
          `Tell me about ${t}. Include the ${noun}.`,
        ],
        added: [`Use the ${noun}.`, `Include the ${noun}.`],
      };
    }
    case "avoids": {
      const word = topic.avoid;
      return {
        constraint: { kind, words: [word] },
        alone: [
          `Describe ${t} without using the word "${word}".`,
          `Tell me about ${t}, but never say "${word}".`,
          `Write about ${t}. Avoid the word "${word}".`,
        ],
        added: [`Do not use the word "${word}".`, `Avoid the word "${word}".`],
      };
    }
    case "sentences": {
      const n = inPair ? 2 : pick([2, 1, 3]);
      return {
        constraint: { kind, n },
        alone: [
          `Tell me about ${t} in exactly ${plural(n, "sentence")}.`,
          `Write ${plural(n, "short sentence")} about ${t}.`,
          `Describe ${t}. Use exactly ${plural(n, "sentence")}.`,
          `What are your thoughts on ${t}? Reply with exactly ${plural(n, "sentence")}.`,
        ],
        added: [`Write exactly ${plural(n, "sentence")}.`],
      };
    }
    case "language": {
      const language = pick(["french", "spanish"] as const);
      const name = capital(language);
      return {
        constraint: { kind, language },
        alone: [
          `Tell me about ${t} in ${name}.`,
          `Tell me about ${t} in ${name}.`,
          `Write a short sentence in ${name} about ${t}.`,
          `Write a short sentence in ${name} about ${t}.`,
          `What can you say about ${t}? Answer in ${name}.`,
          `What can you say about ${t}? Answer in ${name}.`,
        ],
        added: [`Answer in ${name}.`],
      };
    }
    case "order": {
      const [a, b, c] = topic.order;
      return {
        constraint: { kind, words: [a, b, c] },
        alone: [
          `Write about ${t} using the words "${a}", "${b}" and "${c}" in that order.`,
          `Say something about ${t}. Use these words in this order: ${a}, ${b}, ${c}.`,
          `Make a sentence about ${t} with "${a}" first, then "${b}", then "${c}".`,
        ],
        added: [`Use the words "${a}", "${b}" and "${c}" in that order.`],
      };
    }
  }
}

/** How often each request is dealt in a round: kinds alone, and pairs of them. */
const deal: [count: number, first: Kind, second?: Kind][] = [
  [6, "maxWords"],
  [5, "lowercase"],
  [4, "uppercase"],
  [4, "noCommas"],
  [6, "bullets"],
  [5, "numbered"],
  [5, "startsWith"],
  [5, "endsWith"],
  [6, "endsWithQuestion"],
  [5, "includes"],
  [4, "avoids"],
  [6, "sentences"],
  [4, "language"],
  [4, "order"],
  [2, "lowercase", "maxWords"],
  [2, "includes", "maxWords"],
  [2, "endsWithQuestion", "lowercase"],
  [2, "bullets", "lowercase"],
  [2, "bullets", "noCommas"],
  [2, "includes", "sentences"],
  [2, "sentences", "endsWithQuestion"],
  [2, "maxWords", "noCommas"],
  [2, "startsWith", "maxWords"],
  [2, "startsWith", "includes"],
  [2, "endsWith", "avoids"],
  [2, "numbered", "avoids"],
  [2, "maxWords", "uppercase"],
  [2, "language", "maxWords"],
  [2, "endsWith", "maxWords"],
  [1, "bullets", "maxWords"],
  [1, "avoids", "sentences"],
  [1, "order", "noCommas"],
  [2, "lowercase", "includes"],
];
const deck = deal.flatMap(([count, ...kinds]) => Array.from({ length: count }, () => kinds));

const [rounds, perRound] = [2, 6];
const instructions: Instruction[] = [];
const asked = new Set<string>();
for (const [seed, split] of (["train", "heldOut"] as const).entries()) {
  const left: (readonly [Kind, Kind?])[] = [];
  const turns = new Map<Kind, number>();
  const turnOf = (kind: Kind) => {
    const turn = turns.get(kind) ?? 0;
    turns.set(kind, turn + 1);
    return turn;
  };
  const times = Array.from({ length: rounds }, (_, round) => topics[split].map((topic) => ({ round, topic })));
  for (const [index, { round, topic }] of times.flat().entries()) {
    const firsts = new Set<Kind>();
    for (let i = perRound * round + 1; i <= perRound * (round + 1); ) {
      // The next request in the deck that opens in a way this topic hasn't been asked yet in this round.
      if (left.length < deck.length)
        left.push(...shuffled(deck.length, 97 * seed + index).map((card) => deck[card]!));
      const next = left.findIndex(([kind]) => !firsts.has(kind));
      const [first, second] = left.splice(next, 1)[0]!;
      firsts.add(first);
      const turn = turnOf(first);
      const main = ask(first, topic, turn, second !== undefined);
      const constraints = [main.constraint];
      // Numbers and words turn faster than phrasings, so that every phrasing meets every number.
      let prompt = main.alone[(turn + Math.floor(turn / main.alone.length)) % main.alone.length]!;
      if (second) {
        const turn = turnOf(second);
        const extra = ask(second, topic, turn, true);
        constraints.push(extra.constraint);
        prompt += ` ${extra.added[turn % extra.added.length]}`;
      }
      if (asked.has(prompt)) continue; // the second round may ask what the first did
      asked.add(prompt);
      const id = `${topic.name.replaceAll(" ", "-")}-${i++}`;
      const about = [...new Set([topic.name.replace("the ", ""), ...topic.about])];
      instructions.push(
        instructionSchema.parse({ id, topic: topic.name, split, prompt, constraints, about }),
      );
    }
  }
}

writeJsonl(fileURLToPath(new URL("prompts.jsonl", import.meta.url)), instructions);
console.log(`${instructions.length} instructions`);
