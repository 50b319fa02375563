import { Command, Help } from "commander";
import { describe, expect, it } from "vitest";
import { commands, program } from "./main.ts";

describe("the table of commands", () => {
  it.each(commands.map((entry) => [entry.name, entry] as const))(
    "%s: its usage is that of the options and arguments it defines",
    async (name, { usage, load }) => {
      const command = (await load()).define(new Command(name));
      expect(`${name} ${usage}`.trim()).toBe(new Help().subcommandTerm(command).replace(" [command]", ""));
    },
  );

  it("loads only the module of the command that is called", async () => {
    const optionCounts = async (...args: string[]) =>
      Object.fromEntries(
        (await program(["node", "plumbline", ...args])).commands.map((command) => [
          command.name(),
          command.options.length,
        ]),
      );
    const none = await optionCounts("--help");
    expect(Object.values(none).every((count) => count === 0)).toBe(true);
    for (const args of [
      ["runs", "--help"],
      ["help", "runs"],
    ])
      expect(await optionCounts(...args)).toEqual({ ...none, runs: 1 });
  });
});
