import { describe, expect, it } from "vitest";
import { z } from "zod";
import { stages } from "./registry.ts";

interface Setting {
  description?: string;
  properties?: Record<string, Setting>;
}

const undescribed = (settings: Record<string, Setting>, path = ""): string[] =>
  Object.entries(settings).flatMap(([name, { description, properties = {} }]) => [
    ...(description ? [] : [path + name]),
    ...undescribed(properties, `${path}${name}.`),
  ]);

describe.each(stages.map((stage) => [stage.name, stage] as const))("%s", (_, stage) => {
  it("describes every setting and every input", () => {
    for (const schema of [stage.config, stage.schema]) {
      const { properties } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" });
      expect(undescribed(properties as Record<string, Setting>)).toEqual([]);
    }
  });
  it("refuses unknown settings, and suggests the nearest", async () => {
    await expect(async () => stage.start({ seeds: 1 }, {})).rejects.toThrow(
      /unknown key "seeds" \(did you mean "seed"\?\)/,
    );
  });
});

it("has unique names", () => {
  expect(new Set(stages.map(({ name }) => name)).size).toBe(stages.length);
});
