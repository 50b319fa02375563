import type { Row } from "../../batch/pack.ts";
import type { Message, Unpaired } from "../../data/records.ts";
import type { Model } from "../../models/model.ts";
import { encodeExample } from "../../text/chat.ts";

/** The completions of one prompt that were rated good or bad. */
export interface Thumbs {
  prompt: Message[];
  rows: Row[];
  /** 1 for each good completion, 0 for each bad one. */
  good: number[];
  /** The prompt with a completion of another prompt: KTO estimates the policy's KL on such. */
  mismatched: Row;
}

/** Groups thumbs by prompt. Completions over `maxLength` tokens are left out and counted. */
export function thumbsByPrompt(
  model: Model,
  records: readonly Unpaired[],
  maxLength: number,
): { groups: Thumbs[]; tooLong: number } {
  const groups = new Map<string, Omit<Thumbs, "mismatched">>();
  let tooLong = 0;
  for (const { prompt, completion, label } of records) {
    const row = encodeExample(model.text, prompt, completion);
    if (row.promptTokens.length + row.tokens.length > maxLength) {
      tooLong++;
      continue;
    }
    const key = JSON.stringify(prompt);
    const group = groups.get(key) ?? { prompt, rows: [], good: [] };
    groups.set(key, group);
    group.rows.push(row);
    group.good.push(Number(label));
  }
  const list = [...groups.values()];
  return {
    tooLong,
    groups: list.map((group, i) => {
      const { promptTokens } = group.rows[0] as Row;
      const other = list[(i + 1) % list.length]?.rows[0] as Row;
      const tokens = other.tokens.slice(0, maxLength - promptTokens.length);
      return { ...group, mismatched: { promptTokens, tokens } };
    }),
  };
}
