// Words and sentences as IFEval's checks count them.

/** Python's \w: letters, digits and the underscore of all scripts. */
const wordCharacter = "[\\p{L}\\p{N}_]";

/** Counts words: runs of letters, digits and underscores (nltk's RegexpTokenizer with \w+). */
export const countWords = (text: string): number => text.match(/[\p{L}\p{N}_]+/gu)?.length ?? 0;

/** Makes a regular expression that finds a keyword, which IFEval takes as a pattern, in any case. */
export function keywordPattern(keyword: string, flags = "iu"): RegExp {
  try {
    return new RegExp(keyword, flags);
  } catch {
    return new RegExp(keyword.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"), flags);
  }
}

/** Whether a text has a word, in any case, that is no part of a longer one. */
export function hasWord(text: string, word: string): boolean {
  const boundary = `(?:(?<=${wordCharacter})(?!${wordCharacter})|(?<!${wordCharacter})(?=${wordCharacter}))`;
  return keywordPattern(`${boundary}(?:${keywordPattern(word).source})${boundary}`).test(text);
}

/** Whether a text has capital letters, and no small ones. */
export const isUpperCase = (text: string): boolean =>
  /\p{Uppercase}/u.test(text) && !/[\p{Lowercase}\p{Lt}]/u.test(text);

/** Whether a text has small letters, and no capital ones. */
export const isLowerCase = (text: string): boolean =>
  /\p{Lowercase}/u.test(text) && !/[\p{Uppercase}\p{Lt}]/u.test(text);

/** Endings that are words of their own, as in "it's" and "don't", in the Penn Treebank's way of splitting words. */
const contraction = /(?<=[^\s'’])(n't|'(?:s|m|d|ll|re|ve))(?![\p{L}\p{N}_])/giu;
const punctuation = /\.{2,}|[;@#$%&?!*()[\]{}<>"“”«»`]|--|[:,](?!\d)|(?<=\s)'|'(?=\s|$)/gu;

/** Counts words in capitals alone, as nltk's word_tokenize splits them: "IT'S" is two of them, "UP-TO-DATE" one. */
export const countCapitalWords = (text: string): number =>
  text.replaceAll(contraction, " $1 ").replaceAll(punctuation, " ").split(/\s+/).filter(isUpperCase).length;

/** Abbreviations after which a full stop ends no sentence. */
const abbreviations = new Set(
  "dr mr mrs ms prof rev gen col capt lt sgt sen rep gov st mt jr sr vs inc corp co ltd bros no vol ph.d u.s u.k u.n d.c a.m p.m jan feb mar apr aug sept oct nov dec wed thu fri".split(
    " ",
  ),
);

/** Counts sentences about as Punkt does (Kiss & Strunk 2006; its English model is what IFEval uses). */
export function countSentences(text: string): number {
  let count = 0;
  let from = 0;
  // An end is a mark with what closes the sentence, before white space.
  for (const match of text.matchAll(/[.?!…]+["'”’)\]}*_]*(?=\s)/gu)) {
    const end = match.index + match[0].length;
    const rest = text.slice(end).trimStart();
    if (!rest) break;
    if (match[0].startsWith(".") && !endsSentence(text.slice(from, match.index), match[0], rest)) continue;
    count++;
    from = end;
  }
  return count + Number(text.slice(from).trim() !== "");
}

/** Whether a full stop ends a sentence. @param before its sentence so far @param marks the stop, and others @param rest */
function endsSentence(before: string, marks: string, rest: string): boolean {
  const word = /\S*$/u.exec(before)?.[0].replace(/^["'“‘([*_]+/u, "") ?? "";
  const isFollowedBySmall = /^["'“‘([*_]*\p{Ll}/u.test(rest);
  if (marks.startsWith("..")) return !isFollowedBySmall;
  if (abbreviations.has(word.toLowerCase())) return false;
  // Initials: "J. Smith".
  return !/^\p{Lu}$/u.test(word);
}
