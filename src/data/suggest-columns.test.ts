import { describe, expect, it } from "vitest";
import { readDrafts } from "./readers.ts";
import { suggestColumns } from "./suggest-columns.ts";
import { type Columns, parseRows } from "./tables.ts";

const read = async (csv: string, columns?: Columns) =>
  readDrafts("a.csv", await parseRows("a.csv", Buffer.from(csv), columns));

describe("suggestColumns", () => {
  it.each<[string, Columns]>([
    [
      "prompt,response 1,response 2,label",
      { prompt: "prompt", response_1: "response 1", response_2: "response 2", preferred: "label" },
    ],
    [
      "ID,Question,Answer B,Answer A,Winner,Rater,Why",
      {
        prompt: "Question",
        response_1: "Answer A",
        response_2: "Answer B",
        preferred: "Winner",
        labeler: "Rater",
      },
    ],
    ["instruction,good,bad", { prompt: "instruction", chosen: "good", rejected: "bad" }],
    ["query,Reply", { prompt: "query", completion: "Reply" }],
    // A part can be guessed, too.
    ["Frage,Answer A,Answer B", { response_1: "Answer A", response_2: "Answer B" }],
    ["height,weight", {}],
  ])("reads %s", (header, expected) => {
    expect(suggestColumns(header.split(","))).toEqual(expected);
  });

  it("is what the error of an unknown format proposes", async () => {
    await expect(read("Question,Answer A,Answer B\nq,a,b\n")).rejects.toThrow(
      'Perhaps: --columns "prompt=Question,response_1=Answer A,response_2=Answer B"',
    );
    for (const header of ["height,weight", "Answer A,Answer B"])
      await expect(read(`${header}\n1,2\n`)).rejects.not.toThrow("Perhaps");
  });
});

describe("answers side by side", () => {
  const columns = suggestColumns(["prompt", "response 1", "response 2", "response 3", "label"]);
  const header = "prompt,response 1,response 2,response 3,label\n";
  const ranksOf = async (label: string) => {
    // The second row makes sure that one is left where the first is dropped.
    const { drafts, report } = await read(`${header}p,x,y,42,${label}\nq,x,y,z,1\n`, columns);
    const [first] = drafts;
    return first?.prompt[0]?.content === "p" ? first.ranks : Object.keys(report.dropped);
  };

  it.each<[string, number[] | undefined]>([
    ["1", [0, 1, 1]],
    ["2", [1, 0, 1]],
    ["c", [1, 1, 0]],
    ["Response 2", [1, 0, 1]],
    ["model_a", [0, 1, 1]],
    ["tie", [0, 0, 0]],
    ["Both are good", [0, 0, 0]],
    ["", undefined],
  ])("with the label %j have the ranks %j", async (label, ranks) => {
    expect(await ranksOf(label)).toEqual(ranks);
  });

  it("have texts that look like numbers, and may be fewer than there are columns", async () => {
    const { drafts } = await read(`${header}p,x,42,,2\n`, columns);
    expect(drafts).toMatchObject([{ completions: ["x", "42"], ranks: [1, 0] }]);
  });

  it("are left out with a label that says nothing, which names the row", async () => {
    const bad = await read(`${header}p,x,y,z,good\nq,x,y,z,1\n`, columns);
    expect(bad.report).toMatchObject({
      kept: 1,
      examples: { [Object.keys(bad.report.dropped)[0] as string]: [2] },
    });
    expect(Object.keys(bad.report.dropped)[0]).toMatch(/preferred: expected 1/);
    const { report } = await read(`${header}p,x,y,,3\nq,x,y,z,3\n`, columns);
    expect(report.dropped).toEqual({ "the preferred answer is missing": 1 });
  });
});
