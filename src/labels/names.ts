import { InputError } from "../data/errors.ts";

/** Most characters of the name of a person or project. */
const longestName = 200;

/**
 * Checks a name. Characters that are not seen could make two names look alike, and Postgres stores no NUL and no lone
 * surrogate.
 * @throws InputError if it has such a character, or is empty or too long
 */
export function checkName(name: string): void {
  // Joiners (U+200C and U+200D) are part of emoji and of some scripts.
  if (/[\p{Cc}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/u.test(name))
    throw new InputError(`name: ${JSON.stringify(name.slice(0, 80))} has a character that is not visible`);
  if (name.trim() === "" || name.length > longestName)
    throw new InputError(`name: it should have 1 to ${longestName} characters, and has ${name.length}`);
}

/** Whether two names differ only in letter case, width, white space or joiners. */
export function isAlike(a: string, b: string): boolean {
  const fold = (name: string) =>
    name
      .normalize("NFKC")
      .toLowerCase()
      .replace(/\p{Cf}/gu, "")
      .replace(/\s+/g, " ")
      .trim();
  return fold(a) === fold(b);
}
