import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { InputError } from "../data/errors.ts";
import { applySet, editDistance, parseConfig, readRecipe } from "./config.ts";

const schema = z.object({
  clipRange: z.number().positive().default(0.2),
  initKlCoef: z.number().optional(),
  model: z.string(),
  mode: z.enum(["full", "lora"]).default("full"),
  data: z.object({ path: z.string() }).prefault({ path: "p" }),
});
const parse = (input: unknown) => parseConfig(schema, input, "recipe.yaml");

test("defaults are filled in", () => {
  expect(parse({ model: "m" })).toEqual({ clipRange: 0.2, model: "m", mode: "full", data: { path: "p" } });
});

test.each<[unknown, string]>([
  [{ model: "m", clipRang: 1 }, 'recipe.yaml: unknown key "clipRang" (did you mean "clipRange"?)'],
  [{ model: "m", init_kl_coef: 1 }, 'recipe.yaml: unknown key "init_kl_coef" (did you mean "initKlCoef"?)'],
  [{ model: "m", data: { pth: "x" } }, 'recipe.yaml: unknown key "data.pth" (did you mean "data.path"?)'],
  [{ model: "m", somethingElse: 1 }, 'recipe.yaml: unknown key "somethingElse"'],
  [{ model: "m", clipRange: "abc" }, 'recipe.yaml: clipRange: expected number, got "abc"'],
  [{ model: "m", clipRange: -1 }, "recipe.yaml: clipRange: Too small: expected number to be >0, got -1"],
  [{ model: "m", mode: "half" }, 'recipe.yaml: mode: expected one of "full"|"lora", got "half"'],
  [
    { data: { path: 3 } },
    "recipe.yaml: model: missing; expected string\nrecipe.yaml: data.path: expected string, got 3",
  ],
  [null, "recipe.yaml: expected object, got null"],
])("%j is explained", (input, message) => {
  expect(() => parse(input)).toThrow(InputError);
  expect(() => parse(input)).toThrow(new InputError(message));
});

test("editDistance is a metric, and is 3 for kitten and sitting", () => {
  expect(editDistance("kitten", "sitting")).toBe(3);
  const word = fc.string({ maxLength: 6 });
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      expect(editDistance(a, b) === 0).toBe(a === b);
      expect(editDistance(a, b)).toBe(editDistance(b, a));
      expect(editDistance(a, c)).toBeLessThanOrEqual(editDistance(a, b) + editDistance(b, c));
    }),
  );
});

test("a recipe is read, and its mistakes have a line", () => {
  const path = join(mkdtempSync(join(tmpdir(), "plumbline-config-")), "recipe.yaml");
  const recipe = (text: string) => {
    writeFileSync(path, text);
    return () => readRecipe(path);
  };
  expect(recipe("lr: 1e-5\ndata:\n  path: x\n")()).toEqual({ lr: 1e-5, data: { path: "x" } });
  expect(recipe("a: 1\nb: [1, 2\n")).toThrow(/recipe\.yaml:\d: /);
  expect(recipe("a: 1\na: 2\n")).toThrow(/recipe\.yaml:2: Map keys must be unique/);
  expect(recipe("")).toThrow(/expected settings/);
  const bomb = Array.from({ length: 12 }, (_, i) => `a${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
  expect(recipe(`a0: &a0 x\n${bomb.join("\n")}\n`)).toThrow(InputError);
  expect(recipe("- a")).toThrow(/expected settings/);
  expect(() => readRecipe(`${path}.absent`)).toThrow(/there is no such file/);
});

test("--set sets values, parsed as YAML, without changing its input", () => {
  const settings = { ppo: { clipRange: 0.2 }, model: "m" };
  expect(
    applySet(settings, ["ppo.clipRange=1e-1", "data.path=a=b", "list=[1, x]", "model=", "on=true"]),
  ).toEqual({
    ppo: { clipRange: 0.1 },
    data: { path: "a=b" },
    list: [1, "x"],
    model: null,
    on: true,
  });
  expect(settings).toEqual({ ppo: { clipRange: 0.2 }, model: "m" });
  expect(() => applySet(settings, ["clipRange"])).toThrow(/--set clipRange: expected name=value/);
  expect(() => applySet(settings, ["model.x=1"])).toThrow(/"model" is a value/);
  expect(() => applySet(settings, ["a=[1"])).toThrow(/--set a=\[1/);
});
