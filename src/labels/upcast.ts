import type { Transaction } from "kysely";
import type { LabelEvent } from "./events.ts";
import { type NewJudgement, readOverlapState } from "./overlap.ts";
import type { Answer } from "./settings.ts";
import { logVersion, type Schema } from "./tables.ts";

// The log is never rewritten: events of older versions are converted ("upcast") when they are read. The tables computed
// from an old event must not depend on today's rules, so each upcaster contains the rules of its version. Add an upcaster
// for each new version; never change an existing one.

type Tx = Transaction<Schema>;
type RecordedEvent = { type: string };

/** The upcaster at index i converts version i + 1 to i + 2. */
const upcasters: readonly ((tx: Tx, event: RecordedEvent) => Promise<RecordedEvent>)[] = [
  upcastVersion1,
  // Version 3 added the event "left" and the role of "joined", which is optional.
  async (_, event) => event,
  // Version 4 added events about imports, withdrawn tasks, projects and tokens, and the import of tasks and judgements.
  async (_, event) => event,
];

/**
 * Converts a stored event to the newest version. It is not parsed by today's schema: it was checked when it was recorded,
 * and the hash chain proves that it is unchanged.
 * @param tx transaction on tables to which all earlier events have been applied @param data the event as JSON
 */
export async function upcast(tx: Tx, version: number, data: string): Promise<LabelEvent> {
  let event: RecordedEvent = JSON.parse(data);
  for (const next of upcasters.slice(version - 1, logVersion - 1)) event = await next(tx, event);
  return event as LabelEvent;
}

/** Adds `wanted` to judgements. Version 2 records it; in version 1 it was computed by these rules. */
async function upcastVersion1(tx: Tx, event: RecordedEvent): Promise<RecordedEvent> {
  if (event.type !== "judged") return event;
  const { wanted, settings, counts, answers } = await readOverlapState(
    tx,
    event as RecordedEvent & NewJudgement,
  );
  const { overlap, maxOverlap }: { overlap: number; maxOverlap: number } = JSON.parse(settings);
  const done = answers.length;
  const isDisputed = done >= wanted && done < maxOverlap && overlap > 1 && answersDisagreeV1(answers);
  return { ...event, wanted: counts && isDisputed ? done + 1 : wanted } as RecordedEvent;
}

function answersDisagreeV1(answers: readonly Answer[]): boolean {
  if (new Set(answers.map(({ bothBad = false }) => bothBad)).size > 1) return true;
  const signs = answers.flatMap((answer) => [...pairSignsV1(answer).entries()]);
  const pairs = new Set(signs.map(([pair]) => pair));
  return new Set(signs.map(([pair, sign]) => `${pair} ${sign}`)).size > pairs.size;
}

/** Lists, for each pair of completions, 1 if the first is better, −1 if the second is, 0 for a tie. */
function pairSignsV1({ preference, bothBad, ranks, ratings = {} }: Answer): number[] {
  if (bothBad) return [];
  if (preference !== undefined) return [Math.sign(4.5 - preference)];
  const [criterion = [], ...rest] = Object.values(ratings);
  const sums = criterion.map(
    (rating, i) => -rest.reduce((sum, ratings) => sum + (ratings[i] as number), rating),
  );
  const places = ranks ?? sums;
  return places.flatMap((place, i) => places.slice(i + 1).map((other) => Math.sign(other - place)));
}
