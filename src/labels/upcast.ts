import type { Transaction } from "kysely";
import type { LabelEvent } from "./events.ts";
import { type Judgement, judgedTask } from "./overlap.ts";
import type { Answer } from "./settings.ts";
import { logVersion, type Schema } from "./tables.ts";

// Events are never rewritten: those of older versions are brought to the newest while they are read. What follows from an
// old event may not depend on the rules of today, so each upcaster has the rules of its version, frozen. Add an upcaster
// for each new version, and never change one.

type Tx = Transaction<Schema>;
type Recorded = { type: string };

/** From version i + 1 to the next. */
const upcasters: readonly ((tx: Tx, event: Recorded) => Promise<Recorded>)[] = [fromVersion1];

/**
 * An event as the newest version has it. It is taken as it was recorded, without the schema of today: it was checked
 * then, and the chain of hashes shows that nobody has changed it since.
 * @param tx tables that follow from the events before it @param data the event as JSON
 */
export async function upcast(tx: Tx, version: number, data: string): Promise<LabelEvent> {
  let event: Recorded = JSON.parse(data);
  for (const next of upcasters.slice(version - 1, logVersion - 1)) event = await next(tx, event);
  return event as LabelEvent;
}

/** Version 2 records with a judgement how many its task is to have; before, that followed from these rules. */
async function fromVersion1(tx: Tx, event: Recorded): Promise<Recorded> {
  if (event.type !== "judged") return event;
  const { wanted, settings, counts, answers } = await judgedTask(tx, event as Recorded & Judgement);
  const { overlap, maxOverlap }: { overlap: number; maxOverlap: number } = JSON.parse(settings);
  const done = answers.length;
  const isDisputed = done >= wanted && done < maxOverlap && overlap > 1 && disagree1(answers);
  return { ...event, wanted: counts && isDisputed ? done + 1 : wanted } as Recorded;
}

function disagree1(answers: readonly Answer[]): boolean {
  if (new Set(answers.map(({ bothBad = false }) => bothBad)).size > 1) return true;
  const signs = answers.flatMap((answer) => [...signs1(answer).entries()]);
  const pairs = new Set(signs.map(([pair]) => pair));
  return new Set(signs.map(([pair, sign]) => `${pair} ${sign}`)).size > pairs.size;
}

/** For each pair of completions 1 where the first is better, −1 where the second is, 0 for a tie. */
function signs1({ preference, bothBad, ranks, ratings = {} }: Answer): number[] {
  if (bothBad) return [];
  if (preference !== undefined) return [Math.sign(4.5 - preference)];
  const [criterion = [], ...rest] = Object.values(ratings);
  const sums = criterion.map(
    (rating, i) => -rest.reduce((sum, ratings) => sum + (ratings[i] as number), rating),
  );
  const places = ranks ?? sums;
  return places.flatMap((place, i) => places.slice(i + 1).map((other) => Math.sign(other - place)));
}
