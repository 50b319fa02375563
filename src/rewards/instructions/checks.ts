import { z } from "zod";
import { detectLanguage } from "./language.ts";
import {
  countCapitalWords,
  countSentences,
  countWords,
  hasWord,
  isLowerCase,
  isUpperCase,
  keywordPattern,
} from "./text.ts";

// The 25 checks of IFEval (Zhou et al. 2023), which tell by program whether a response follows an instruction. What each
// counts is what the authors' program counts, so that results compare.

const relation = z.enum(["less than", "at least"]);
const count = z.number();

/** Compares a count with what was asked for. */
const isCount = (actual: number, how: z.infer<typeof relation>, wanted: number): boolean =>
  how === "less than" ? actual < wanted : actual >= wanted;

const matches = (text: string, pattern: RegExp): string[] => [...text.matchAll(pattern)].map(([all]) => all);

export interface Check<Arguments extends z.ZodType = z.ZodType> {
  /** Arguments by which a prompt's instruction names what is asked for. */
  arguments: Arguments;
  /** Whether a response does what is asked for. */
  isFollowed: (response: string, args: z.output<Arguments>) => boolean;
}

const check = <Arguments extends z.ZodType>(
  args: Arguments,
  isFollowed: Check<Arguments>["isFollowed"],
): Check => ({ arguments: args, isFollowed: isFollowed as Check["isFollowed"] });

const nothing = z.object({});

/** Checks by the id of their instruction. */
export const checks: Readonly<Record<string, Check>> = {
  "keywords:existence": check(z.object({ keywords: z.array(z.string()) }), (response, { keywords }) =>
    keywords.every((keyword) => keywordPattern(keyword).test(response)),
  ),
  "keywords:frequency": check(
    z.object({ keyword: z.string(), frequency: count, relation }),
    (response, { keyword, frequency, relation }) =>
      isCount(matches(response, keywordPattern(keyword, "giu")).length, relation, frequency),
  ),
  "keywords:forbidden_words": check(
    z.object({ forbidden_words: z.array(z.string()) }),
    (response, { forbidden_words }) => !forbidden_words.some((word) => hasWord(response, word)),
  ),
  "keywords:letter_frequency": check(
    z.object({ letter: z.string(), let_frequency: count, let_relation: relation }),
    (response, { letter, let_frequency, let_relation }) => {
      const wanted = letter.toLowerCase();
      const found = [...response.toLowerCase()].filter((character) => character === wanted);
      return isCount(found.length, let_relation, let_frequency);
    },
  ),
  "language:response_language": check(z.object({ language: z.string() }), (response, { language }) => {
    const detected = detectLanguage(response);
    return detected === undefined || detected === language;
  }),
  "length_constraints:number_sentences": check(
    z.object({ num_sentences: count, relation }),
    (response, { num_sentences, relation }) => isCount(countSentences(response), relation, num_sentences),
  ),
  "length_constraints:number_paragraphs": check(
    z.object({ num_paragraphs: count }),
    (response, { num_paragraphs }) => {
      const paragraphs = response.split(/\s?\*\*\*\s?/).map((paragraph) => paragraph.trim());
      // Nothing may stand before the first divider and after the last.
      if (!paragraphs[0]) paragraphs.shift();
      if (paragraphs.length && !paragraphs.at(-1)) paragraphs.pop();
      return paragraphs.every((paragraph) => paragraph) && paragraphs.length === num_paragraphs;
    },
  ),
  "length_constraints:number_words": check(
    z.object({ num_words: count, relation }),
    (response, { num_words, relation }) => isCount(countWords(response), relation, num_words),
  ),
  "length_constraints:nth_paragraph_first_word": check(
    z.object({ first_word: z.string(), nth_paragraph: count, num_paragraphs: count }),
    (response, { first_word, nth_paragraph, num_paragraphs }) => {
      const paragraphs = response.split("\n\n");
      const filled = paragraphs.filter((paragraph) => paragraph.trim());
      if (filled.length !== num_paragraphs || nth_paragraph > filled.length) return false;
      const [word = ""] = (paragraphs[nth_paragraph - 1] ?? "").trim().split(/\s+/);
      const bare = /^'*"*([^.,?!'"]*)/.exec(word)?.[1] ?? "";
      return bare !== "" && bare.toLowerCase() === first_word.toLowerCase();
    },
  ),
  "detectable_content:number_placeholders": check(
    z.object({ num_placeholders: count }),
    (response, { num_placeholders }) => matches(response, /\[[^\n]*?\]/g).length >= num_placeholders,
  ),
  "detectable_content:postscript": check(
    z.object({ postscript_marker: z.string() }),
    (response, { postscript_marker: marker }) => {
      const pattern =
        marker === "P.P.S" ? "p\\.\\s?p\\.\\s?s" : marker === "P.S." ? "p\\.\\s?s\\." : marker.toLowerCase();
      return keywordPattern(pattern).test(response.toLowerCase());
    },
  ),
  "detectable_format:number_bullet_lists": check(
    z.object({ num_bullets: count }),
    (response, { num_bullets }) => {
      const stars = matches(response, /(?<=^|\n)\s*\*[^*][^\n]*/g);
      const dashes = matches(response, /(?<=^|\n)\s*-[^\n]*/g);
      return stars.length + dashes.length === num_bullets;
    },
  ),
  "detectable_format:constrained_response": check(nothing, (response) =>
    ["My answer is yes.", "My answer is no.", "My answer is maybe."].some((answer) =>
      response.includes(answer),
    ),
  ),
  "detectable_format:number_highlighted_sections": check(
    z.object({ num_highlights: count }),
    (response, { num_highlights }) => {
      const single = matches(response, /\*[^\n*]*\*/g);
      const double = matches(response, /\*\*[^\n*]*\*\*/g);
      const filled = [...single, ...double].filter((text) => text.replaceAll("*", "").trim());
      return filled.length >= num_highlights;
    },
  ),
  "detectable_format:multiple_sections": check(
    z.object({ section_spliter: z.string(), num_sections: count }),
    (response, { section_spliter, num_sections }) =>
      matches(response, keywordPattern(`\\s?${section_spliter}\\s?\\d+\\s?`, "gu")).length >= num_sections,
  ),
  "detectable_format:json_format": check(nothing, (response) => {
    const text = response
      .trim()
      .replace(/^```json/i, "")
      .replace(/^```/, "")
      .replace(/```$/, "");
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  }),
  "detectable_format:title": check(nothing, (response) =>
    matches(response, /<<[^\n]+>>/g).some((title) => title.replace(/^<+/, "").replace(/>+$/, "").trim()),
  ),
  "combination:two_responses": check(nothing, (response) => {
    const parts = response.split("******").map((part) => part.trim());
    const filled = parts.filter((part) => part);
    const hasGap = parts.slice(1, -1).some((part) => !part);
    return !hasGap && filled.length === 2 && filled[0] !== filled[1];
  }),
  "combination:repeat_prompt": check(
    z.object({ prompt_to_repeat: z.string() }),
    (response, { prompt_to_repeat }) =>
      response.trim().toLowerCase().startsWith(prompt_to_repeat.trim().toLowerCase()),
  ),
  "startend:end_checker": check(z.object({ end_phrase: z.string() }), (response, { end_phrase }) =>
    response
      .trim()
      .replace(/^"+|"+$/g, "")
      .toLowerCase()
      .endsWith(end_phrase.trim().toLowerCase()),
  ),
  "startend:quotation": check(nothing, (response) => /^".*"$/s.test(response.trim())),
  "change_case:capital_word_frequency": check(
    z.object({ capital_frequency: count, capital_relation: relation }),
    (response, { capital_frequency, capital_relation }) =>
      isCount(countCapitalWords(response), capital_relation, capital_frequency),
  ),
  "change_case:english_capital": check(nothing, (response) => isUpperCase(response) && isEnglish(response)),
  "change_case:english_lowercase": check(nothing, (response) => isLowerCase(response) && isEnglish(response)),
  "punctuation:no_comma": check(nothing, (response) => !response.includes(",")),
};

const isEnglish = (response: string): boolean => (detectLanguage(response) ?? "en") === "en";
