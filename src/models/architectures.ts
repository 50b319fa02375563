import { InputError } from "../data/errors.ts";
import type { Architecture, Json } from "./architecture.ts";
import { gpt2 } from "./gpt2.ts";
import { llama } from "./llama.ts";

/** Architectures by config.json's `model_type`. */
// biome-ignore lint/suspicious/noExplicitAny: each architecture has its own config type, which only it reads
const architectures: Record<string, Architecture<any>> = { llama, mistral: llama, gpt2 };

/**
 * Finds the architecture that config.json names and parses its settings.
 * @throws InputError for an architecture that is not supported, or a setting that is missing or wrong
 */
export function parseModelConfig(json: Json): { architecture: Architecture<unknown>; config: unknown } {
  const type = String(json.model_type);
  const architecture = architectures[type];
  if (!architecture)
    throw new InputError(
      `config.json: model_type "${type}" is not supported (${Object.keys(architectures).join(", ")} are)`,
    );
  const parsed = architecture.schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new InputError(`config.json: ${issue?.path.join(".")}: ${issue?.message}`);
  }
  return { architecture, config: parsed.data };
}
