import { describe, expect, it } from "vitest";
import { here } from "../../bench/process.ts";
import { drawPrinciple, principlesFor, readConstitution, toConstitution } from "./constitution.ts";

const principle = {
  name: "kind",
  critique: "What is unkind?",
  revision: "Be kind.",
  preference: "Which is kinder?",
};

describe("a constitution", () => {
  it("has a hash that depends on its contents, and not on whether defaults are written out", () => {
    const one = toConstitution({ name: "c", principles: [principle] });
    expect(one.hash).toMatch(/^[0-9a-f]{12}$/);
    expect(toConstitution({ version: 1, principles: [{ ...principle, weight: 1 }], name: "c" }).hash).toBe(
      one.hash,
    );
    const others = [
      { name: "c", version: 2, principles: [principle] },
      { name: "c", principles: [{ ...principle, weight: 2 }] },
      { name: "c", principles: [{ ...principle, preference: "Which is kindest?" }] },
    ].map((given) => toConstitution(given).hash);
    expect(new Set([one.hash, ...others]).size).toBe(4);
  });

  it("of the starter is valid", () => {
    const starter = readConstitution(here("../recipes/starter/constitution.yaml"));
    expect(principlesFor(starter, "critique").length).toBe(principlesFor(starter, "preference").length);
  });

  it.each([
    ["no principles", { name: "c", principles: [] }, /principles/],
    ["an unknown key", { name: "c", principles: [{ ...principle, critic: "x" }] }, /critic/],
    [
      "half a revision",
      { name: "c", principles: [{ name: "a", critique: "x" }] },
      /both critique and revision/,
    ],
    [
      "two of one name",
      { name: "c", principles: [principle, principle] },
      /two principles are called "kind"/,
    ],
  ])("refuses %s", (_, given, why) => {
    expect(() => toConstitution(given)).toThrow(why);
  });

  it("draws principles by their weights", () => {
    const { principles } = toConstitution({
      name: "c",
      principles: [
        { ...principle, weight: 3 },
        { ...principle, name: "brief" },
      ],
    });
    const drawn = [0, 0.5, 0.74, 0.76, 0.999].map((random) => drawPrinciple(principles, random).name);
    expect(drawn).toEqual(["kind", "kind", "kind", "brief", "brief"]);
  });

  it("says for which use a principle is missing", () => {
    const only = toConstitution({ name: "c", principles: [{ name: "a", preference: "Which?" }] });
    expect(() => principlesFor(only, "critique")).toThrow(/"c" has no principle with a critique/);
  });
});
