import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import type { Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInvitation } from "../src/labels/accounts.ts";
import { LabelStore } from "../src/labels/store.ts";
import { jsonLines, plumbline, succeed } from "./cli.ts";
import { browserPath, type LabelApp, screenshot, startLabelApp, violations } from "./label-browser.ts";

const password = "correct horse battery";
const hostile = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>\u202e 👩‍💻 שלום`;
const count = 24;

describe.skipIf(!browserPath)("the label app in a browser", () => {
  const folder = mkdtempSync(join(tmpdir(), "label-app-"));
  const store = join(folder, "labels.db");
  let address: string;
  let link: string;
  let problems: string[];
  let open: LabelApp["open"];
  let close: LabelApp["close"];

  beforeAll(async () => {
    ({ address, link, problems, open, close } = await startLabelApp(store));
  });
  afterAll(() => close?.());

  /** Expects axe to find nothing on a page, in both colour schemes; and takes a picture of it. */
  async function inspect(page: Page, name: string): Promise<void> {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect({ name, violations: await violations(page) }).toEqual({ name, violations: [] });
      await screenshot(page, `${name}-${colorScheme}`);
    }
    await page.emulateMedia({ colorScheme: null });
  }

  async function claim(page: Page, url: string, name: string): Promise<void> {
    await page.goto(url);
    await page.getByLabel("Name, as others see it").fill(name);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Make the account" }).click();
    await page.getByRole("heading", { name: "Projects", level: 1 }).waitFor();
  }

  it("takes a project from nothing to a reward model", async () => {
    const [, owner] = await open();
    await owner.goto(address);
    await owner.getByRole("heading", { name: "Sign in" }).waitFor();
    await inspect(owner, "sign-in");
    await owner.goto(link);
    await owner.getByRole("button", { name: "Make the account" }).waitFor();
    await inspect(owner, "claim");
    await claim(owner, link, "Olive Owner");
    await inspect(owner, "projects-empty");
    await owner.getByRole("link", { name: "New project" }).click();
    await inspect(owner, "new-project");
    await owner.getByLabel("Name", { exact: true }).fill("Helpful answers");
    await owner.getByLabel("Choose between 2 answers").check();
    await owner.getByLabel("Judgements of each task").fill("3");
    const more = owner.getByText("More", { exact: true });
    await more.click();
    // What is wrong is shown, also in what was closed.
    await owner.getByLabel("Share of tasks with a known answer").fill("7");
    await more.click();
    await owner.getByRole("button", { name: "Make the project" }).click();
    expect(await owner.locator(":focus").getAttribute("max")).toBe("0.5");
    await owner.getByLabel("Share of tasks with a known answer").fill("0");
    await owner.getByLabel("Share of tasks asked again").fill("0");
    await owner.getByLabel("Price of a judgement").fill("0.25");
    await owner.getByLabel("Comparisons wanted").fill("10000");
    await owner.getByRole("button", { name: "Make the project" }).click();
    await owner.getByRole("heading", { name: "Helpful answers", level: 1 }).waitFor();
    const project = owner.url().split("/").at(-2) as string;

    const pairs = Array.from({ length: count }, (_, i) => {
      const asked = `\n\nHuman: Question ${i}: how do I boil ${i} eggs?\n\nAssistant:`;
      return JSON.stringify({
        chosen: `${asked} Put ${i} eggs in *boiling* water. GOOD`,
        rejected: `${asked} I will not say. Ask ${i} others. ${hostile}`,
      });
    });
    await owner.getByLabel("File", { exact: true }).setInputFiles({
      name: "hh.jsonl",
      mimeType: "application/jsonl",
      buffer: Buffer.from([...pairs, pairs[0]].join("\n")),
    });
    await owner.getByText(`hh-rlhf, ${count + 1} rows: ${count} tasks to import.`).waitFor();
    await owner.getByText("1 dropped: duplicate").waitFor();
    await owner.getByRole("region", { name: "Task 3" }).getByText("how do I boil 2 eggs?").waitFor();
    await inspect(owner, "import-preview");
    await owner.getByRole("button", { name: "Import", exact: true }).click();
    await owner.getByText(`Imported: ${count} tasks.`).waitFor();
    const { encodeRows } = await import("../src/data/tables.ts");
    await owner.getByLabel("File", { exact: true }).setInputFiles({
      name: "hh.parquet",
      mimeType: "application/vnd.apache.parquet",
      buffer: Buffer.from(await encodeRows("parquet", [JSON.parse(pairs[0] as string)])),
    });
    await owner.getByText("1 dropped: in the project already").waitFor();
    // There is nothing to import.
    expect(await owner.getByRole("button", { name: "Import", exact: true }).isDisabled()).toBe(true);
    await inspect(owner, "settings");
    await owner.getByRole("link", { name: "Guidelines" }).click();
    await owner.getByLabel("In Markdown").fill("# What we want\n\n- Helpful answers\n- `no` refusals");
    await owner.getByRole("button", { name: "Add a question" }).click();
    await owner.getByLabel("Question", { exact: true }).fill("Do we want refusals?");
    await owner.getByLabel("Right one").selectOption("1");
    await owner.getByRole("button", { name: "Publish version 1" }).click();
    await owner.getByText("Published.").waitFor();
    await inspect(owner, "settings-guidelines");
    await owner.getByRole("link", { name: "People" }).click();

    const links: string[] = [];
    for (let i = 0; i < 3; i++) {
      await owner.getByRole("button", { name: "Make a link" }).click();
      const field = owner.getByLabel("Send this link to one person");
      await expect.poll(() => field.inputValue().catch(() => "")).not.toBe(links.at(-1) ?? "");
      links.push(await field.inputValue());
    }
    expect(new Set(links).size).toBe(3);

    await Promise.all(
      links.map(async (invitation, k) => {
        const [context, page] = await open({ viewport: { width: k ? 1280 : 400, height: 800 } });
        await claim(page, invitation, `Labeler ${k}`);
        await work(page, k);
        await context.close();
      }),
    );

    await owner.goto(`${address}/projects/${project}/quality`);
    await owner.getByRole("heading", { name: "Agreement" }).waitFor();
    const measures = await owner.locator(".measures").first().textContent();
    // The third labeler answers against the others.
    expect(measures).toMatch(/Krippendorff's α-0\.\d\d \[/);
    await owner.getByRole("alert").getByText("labelers agree little").waitFor();
    expect(await owner.locator(".measures").nth(1).textContent()).toMatch(/Spent\$15/);
    expect(await owner.locator(".measures").nth(1).textContent()).toMatch(/10,000 usable comparisons\$\d/);
    await inspect(owner, "quality");
    await owner.getByRole("link", { name: "Labelers" }).click();
    const rows = owner.getByRole("row");
    await expect.poll(() => rows.count()).toBe(4);
    const weights = await rows.evaluateAll((all) =>
      all
        .slice(1)
        .map((row) => [row.children[0]?.textContent, Number(row.children[6]?.textContent)] as const),
    );
    const weight = new Map(weights as [string, number][]);
    expect(weight.get("Labeler 2")).toBe(0);
    await owner.getByRole("alert").getByText("of Labeler 2 count nothing in training").waitFor();
    const { stderr } = await plumbline(["labels", "export", "--store", store]);
    expect(stderr).toMatch(/warning: the \d+ judgements of Labeler 2 have the weight 0/);
    expect(Math.min(weight.get("Labeler 0") ?? 0, weight.get("Labeler 1") ?? 0)).toBeGreaterThan(0.3);
    await inspect(owner, "labelers");
    // Whose weight is nothing: their newest answers, and from there what all say of one task.
    await owner.getByRole("button", { name: "Labeler 2" }).click();
    const newest = owner.getByRole("region", { name: "Judgements, the newest first" });
    await expect.poll(() => newest.getByRole("row").count()).toBe(21);
    await inspect(owner, "labeler");
    const asked = await newest.getByRole("link").first().textContent();
    await newest.getByRole("link").first().click();
    await owner.getByRole("heading", { name: "Task", level: 1 }).waitFor();
    expect(await owner.getByRole("region", { name: "Prompt" }).textContent()).toContain(asked);
    const judgements = owner.getByRole("region", { name: "Judgements" });
    expect(await judgements.textContent()).toContain("Labeler 2");
    await inspect(owner, "task");
    await owner.getByRole("link", { name: "Quality" }).click();
    const worst = owner.getByRole("region", { name: "Most disagreed about" }).getByRole("link").first();
    const disputed = await worst.textContent();
    await worst.click();
    await owner.getByRole("heading", { name: "Task", level: 1 }).waitFor();
    expect(await owner.getByRole("region", { name: "Prompt" }).textContent()).toContain(disputed);
    await owner.getByRole("link", { name: "Disputes" }).click();
    // The third labeler's tasks that another one had too. Two of three miss four of the 24 tasks each, so 16 at least.
    const said = jsonLines(await succeed(["labels", "export", "--store", store, "--format", "judgements"]));
    const by = (wanted: RegExp) =>
      new Set(said.filter(({ labeler }) => wanted.test(labeler)).map(({ task }) => task));
    const others = by(/[01]$/);
    const shared = [...by(/2$/)].filter((task) => others.has(task)).length;
    expect(shared).toBeGreaterThanOrEqual(16);
    await owner.getByText(new RegExp(`^${shared} of ${count} tasks to decide`)).waitFor();
    await inspect(owner, "disputes");
    await owner.getByRole("link", { name: "Everything about this task" }).click();
    await owner.getByRole("heading", { name: "Task", level: 1 }).waitFor();
    await owner.goBack();
    await owner.keyboard.press("Tab");
    // As most labelers have it: if the task is held out, the reward model is measured by this decision.
    const isFirstGood = (await owner.getByRole("region", { name: "Answer A" }).textContent())?.includes(
      "GOOD",
    );
    await owner.getByLabel(`${isFirstGood ? "A" : "B"} is much better`).check();
    await owner.getByRole("button", { name: "Decide" }).click();

    await owner.goto(`${address}/projects/${project}/settings/export`);
    const download = owner.waitForEvent("download");
    await owner.getByRole("link", { name: "JSON lines" }).click();
    const exported = jsonLines(readFileSync(await (await download).path(), "utf8"));
    expect(exported.length).toBeGreaterThan(50);
    expect(JSON.stringify(exported)).toContain(JSON.stringify(hostile).slice(1, -1));
    expect(problems).toEqual([]);

    const verified = JSON.parse(await succeed(["labels", "verify", "--store", store, "--json"]));
    expect(verified.problems).toEqual([]);
    const model = join(folder, "tiny");
    const { tinyModel } = await import("./tiny.ts");
    tinyModel(1).save(model);
    const run = join(folder, "reward");
    const options = ["--set", "epochs=6", "--set", "batchSize=4", "--set", "learningRate=0.003", "--json"];
    const events = jsonLines(
      await succeed(["reward", "--model", model, "--labels", store, "--run", run, ...options]),
    );
    expect(events.at(-1)).toMatchObject({ type: "done" });
    // Two of three labelers prefer GOOD; the third counts nothing.
    expect(events.at(-1).metrics.eval_accuracy).toBeGreaterThan(0.8);
    writeFileSync(join(folder, "done"), "");
  }, 240_000);

  it("takes a new owner from a table of unknown columns to the first judgement in five minutes", async () => {
    const started = Date.now();
    const { page } = await asOwner("Newcomer");
    await page.getByRole("link", { name: "New project" }).click();
    await page.getByLabel("Name", { exact: true }).fill("From a table");
    await page.getByLabel("Choose between 2 answers").check();
    await page.getByRole("button", { name: "Make the project" }).click();
    await page.getByRole("heading", { name: "From a table", level: 1 }).waitFor();
    const steps = page.getByRole("list", { name: "To do" });
    await steps.getByText("Import tasks").waitFor();
    await inspect(page, "checklist");

    const header = "Nr,Frage,Answer A,Answer B,Winner,Editor";
    const rows = ["one", "two", "three", "four"].map((n, i) => `${i},Say ${n},Yes: ${n}.,No.,A,Bo`);
    const file = page.getByLabel("File", { exact: true });
    const choose = (text: string) =>
      file.setInputFiles({ name: "odd.csv", mimeType: "text/csv", buffer: Buffer.from(text) });
    await choose([header, ...rows].join("\n"));
    // Nothing tells that "Frage" is the prompt: the owner does.
    const preview = page.getByRole("region", { name: "Preview" });
    await preview.getByRole("alert").getByText("The data format is not known").waitFor();
    const add = preview.getByRole("button", { name: "Import", exact: true });
    expect(await add.isDisabled()).toBe(true);
    await inspect(page, "import-unknown");
    // The others are guessed.
    for (const [column, meaning] of [
      ["Answer A", "response_1"],
      ["Answer B", "response_2"],
      ["Winner", "preferred"],
    ] as const)
      expect(await preview.getByLabel(`Read ${column} as`).inputValue()).toBe(meaning);
    await preview.getByLabel("Read Frage as").selectOption("the prompt");
    await preview.getByText("answers side by side, judged, 4 rows: 4 tasks to import.").waitFor();
    await preview.getByText("Columns not used: Nr, Editor").waitFor();
    await preview.getByText("4 rows with a preference or rating, which is left out").waitFor();
    const third = preview.getByRole("region", { name: "Task 3" });
    await third.getByText("Say three").waitFor();
    await third.getByText("Yes: three.").waitFor();
    await inspect(page, "import-mapped");
    // Nothing is imported before the button says so, and what it prefers is asked before.
    expect(await page.getByRole("region", { name: "Imported files" }).count()).toBe(0);
    await page.getByLabel("The file is for").selectOption("judgements that were made elsewhere");
    await preview.getByText("4 tasks, 4 judgements to import.").waitFor();
    await third.getByText("Judged by odd.csv").waitFor();
    await page
      .getByLabel("The file is for")
      .selectOption("tasks to judge; what the file prefers is left out");
    await preview.getByText("4 tasks to import.").waitFor();
    await add.click();
    await page.getByText("Imported: 4 tasks.").waitFor();

    await page
      .getByRole("navigation", { name: "Project" })
      .getByRole("link", { name: "Label", exact: true })
      .click();
    await page
      .getByRole("button", { name: "I have read them" })
      .or(page.getByRole("link", { name: "Begin" }))
      .click();
    await page.getByText(/^Say /).waitFor();
    await page.keyboard.press("2");
    await page.keyboard.press("Enter");
    await page.getByText("1 answered").waitFor();
    const minutes = (Date.now() - started) / 60_000;
    console.log(`owner to first judgement: ${minutes.toFixed(1)} minutes`);
    expect(minutes).toBeLessThan(5);

    // The wrong file can be undone, and a project renamed and archived.
    await page.goto(page.url().replace(/\/label$/, "/settings"));
    const imported = page.getByRole("region", { name: "Imported files" });
    await imported.getByRole("button", { name: "Withdraw odd.csv" }).click();
    await page.getByRole("dialog").getByText("nor the 1 that were made of its tasks here").waitFor();
    await inspect(page, "withdraw");
    await page.getByRole("dialog").getByRole("button", { name: "Withdraw it" }).click();
    await imported.getByText("odd.csv (withdrawn)").waitFor();
    await page.getByText("0 of 0 tasks have all their judgements.").waitFor();
    await imported.getByRole("button", { name: "Restore odd.csv" }).click();
    await page.getByText("0 of 4 tasks have all their judgements.").waitFor();
    await page.getByRole("navigation", { name: "Set up" }).getByRole("link", { name: "Settings" }).click();
    await page.getByLabel("Name", { exact: true }).fill("From a German table");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByRole("heading", { name: "From a German table", level: 1 }).waitFor();
    await page.getByRole("button", { name: "Archive the project" }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Archive it" }).click();
    await page.getByText("This project is archived.").waitFor();
    await inspect(page, "settings-options");
    await page.goto(address);
    await page.getByText("Archived (1)").click();
    await page.getByRole("link", { name: "From a German table" }).click();
    expect(problems.filter((problem) => !/status of 40[04]/.test(problem))).toEqual([]);
  }, 120_000);

  it("ranks by keys and by dragging, rates, marks, skips, and takes demonstrations", async () => {
    const { page, make } = await asOwner("Another owner");
    const four = ["first", "second", "third", "fourth"].map((text) => `The ${text} answer, in \`code\`.`);
    const ranking = await make(
      "Rankings",
      { kind: "ranking", rubric: [{ name: "truthfulness", low: 1, high: 5 }], flags: ["spam"] },
      [
        { prompt: "one", completions: four },
        { prompt: "two", completions: four },
        { prompt: "three", completions: four },
      ],
    );
    await page.goto(`${address}/projects/${ranking}/label`);
    await page.getByText("0 answered").waitFor();
    const ranks = () => page.locator(".rank select").evaluateAll((all) => all.map((one) => one.value));
    for (const key of ["c", "a", "=", "b"]) await page.keyboard.press(key);
    await expect.poll(ranks).toEqual(["2", "2", "1", ""]);
    await page.keyboard.press("Enter");
    await page.getByText("Rank answer D.").waitFor();
    await page.keyboard.press("d");
    await expect.poll(ranks).toEqual(["2", "2", "1", "3"]);
    await page.keyboard.press("Backspace");
    await expect.poll(ranks).toEqual(["2", "2", "1", ""]);
    await page.keyboard.press("d");
    await page.keyboard.press("Enter");
    await page.getByText("Rate answer A on truthfulness.").waitFor();
    await inspect(page, "label-ranking");
    for (const letter of "ABCD")
      await page
        .getByRole("region", { name: `Answer ${letter}` })
        .getByLabel("4", { exact: true })
        .check();
    await page.getByRole("group", { name: "Mark answer D" }).getByLabel("spam").check();
    const shown = await page.locator(".completion .text").allTextContents();
    await page.keyboard.press("Enter");
    await page.getByText("1 answered").waitFor();

    // Dragged: what has no rank gets one, and all others keep theirs and their ties.
    const chip = (letter: string) => page.getByRole("button", { name: `Answer ${letter}, move` });
    const gap = (place: number) => page.locator(".order .gap").nth(place);
    await page.mouse.wheel(0, 2000);
    await page.waitForTimeout(200);
    const drag = async (letter: string, target: Locator) => {
      const [from, to] = [await chip(letter).boundingBox(), await target.boundingBox()];
      if (!from || !to) throw new Error("the chips are not there");
      await page.mouse.move(from.x + from.width / 2, from.y + 10);
      await page.mouse.down();
      await page.mouse.move(to.x + to.width / 2, to.y + 10, { steps: 12 });
      // Let go, as people do, once it shows where it would land.
      await expect.poll(() => target.getAttribute("class")).toMatch(/\bover\b/);
      await page.mouse.up();
    };
    await drag("D", gap(0));
    await expect.poll(ranks).toEqual(["", "", "", "1"]);
    await drag("A", gap(1));
    await drag("B", chip("A"));
    await drag("C", gap(2));
    await expect.poll(ranks).toEqual(["2", "2", "3", "1"]);
    // A and B are level still.
    await drag("C", gap(0));
    await expect.poll(ranks).toEqual(["3", "3", "1", "2"]);
    await drag("D", chip("C"));
    await expect.poll(ranks).toEqual(["2", "2", "1", "1"]);
    await inspect(page, "label-ties");
    await drag("B", gap(1));
    await expect.poll(ranks).toEqual(["3", "2", "1", "1"]);
    // By the keyboard as well: taken with space, moved, let go; and the focus stays with it.
    const press = async (...keys: string[]) => {
      for (const key of keys) {
        await page.keyboard.press(key);
        await page.waitForTimeout(150);
      }
    };
    await chip("A").focus();
    await press("Space", "ArrowLeft", "ArrowLeft", "Space");
    await expect.poll(ranks).toEqual(["2", "2", "1", "1"]);
    await press("Space", "ArrowLeft", "Space");
    await expect.poll(ranks).toEqual(["2", "3", "1", "1"]);
    await press("Space", "ArrowLeft", "ArrowLeft", "Escape");
    expect(await ranks()).toEqual(["2", "3", "1", "1"]);
    // On a narrow screen as well, where they may stand in several lines.
    await page.setViewportSize({ width: 400, height: 800 });
    await chip("A").scrollIntoViewIfNeeded();
    await drag("A", gap(0));
    await expect.poll(ranks).toEqual(["1", "3", "2", "2"]);
    await inspect(page, "label-narrow");
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.keyboard.press("/");
    expect(await page.locator("ins").count()).toBeGreaterThan(0);
    await inspect(page, "label-differences");
    await page.keyboard.press("s");
    await page.getByLabel("Unclear prompt").check();
    await inspect(page, "skip");
    await page.getByRole("dialog").getByRole("button", { name: "Skip" }).click();
    await page.getByText("2 answered").waitFor();

    const writing = await make("Writing", { kind: "demonstration", overlap: 1 }, [{ prompt: "Say hello." }]);
    await page.goto(`${address}/projects/${writing}/label`);
    await page.getByLabel("Your response").fill(`Hello ${hostile}`);
    await inspect(page, "label-writing");
    // More than a browser sends for a page that is gone; and left before it would have been saved, twice.
    const long = "é".repeat(50_000);
    for (const end of ["", "!"]) {
      await page.getByLabel("Your response").fill(`${long}${end}`);
      await page.goto(`${address}/projects/${writing}/label`);
      await expect.poll(() => page.getByLabel("Your response").inputValue()).toBe(`${long}${end}`);
    }
    // By then it is with the server as well.
    await expect.poll(() => page.evaluate<string>("JSON.stringify(localStorage)")).toBe("{}");
    await page.reload();
    await expect.poll(() => page.getByLabel("Your response").inputValue()).toBe(`${long}!`);
    await page.getByLabel("Your response").fill(`Hello ${hostile}`);
    await page.getByRole("button", { name: "Submit" }).click();
    await page.getByText("There is nothing left for you here").waitFor();

    expect(problems).toEqual([]);
    const exported = async (project: string, format: string) =>
      jsonLines(
        await succeed(["labels", "export", "--store", store, "--project", project, "--format", format]),
      );
    const [ranked, skipped] = await exported(ranking, "judgements");
    expect(skipped).toMatchObject({ answer: { skip: "Unclear prompt" } });
    // As stored, whatever order was shown.
    const rankOf = new Map(shown.map((text, i) => [text.trim(), [2, 2, 1, 3][i]]));
    const plain = (text: string) => text.replaceAll("`", "");
    expect(ranked.answer.ranks).toEqual(ranked.completions.map((text: string) => rankOf.get(plain(text))));
    const spam = ranked.completions.map((text: string) => plain(text) === shown[3]?.trim());
    expect(ranked.answer.flags).toEqual({ spam });
    expect(ranked.answer.ratings).toEqual({ truthfulness: [4, 4, 4, 4] });
    expect((await exported(writing, "prompt-completion"))[0].completion).toEqual([
      { role: "assistant", content: `Hello ${hostile}` },
    ]);
    expect(await exported(ranking, "preference")).toHaveLength(5);
  }, 120_000);

  it("shows what a model criticised, revised and compared by principles, to be overruled", async () => {
    const file = (name: string, text: string) => {
      writeFileSync(join(folder, name), text);
      return join(folder, name);
    };
    const principle =
      "{ name: kind, critique: What is unkind?, revision: Again., preference: Which is kinder? }";
    const constitution = file("constitution.yaml", `name: kindness\nprinciples:\n  - ${principle}\n`);
    const prompts = ["one", "two"].map((prompt) => ({ prompt, completions: ["yes", `no ${hostile}`] }));
    const data = file("answers.jsonl", prompts.map((row) => JSON.stringify(row)).join("\n"));
    const asks = file("asks.jsonl", prompts.map(({ prompt }) => JSON.stringify({ prompt })).join("\n"));
    const by = ["--constitution", constitution, "--model", "smollm2-135m-instruct", "--max-tokens", "24"];
    await succeed(["constitution", "judge", ...by, "--data", data, "--out", join(folder, "judged")]);
    await succeed(["constitution", "revise", ...by, "--data", asks, "--out", join(folder, "revised")]);
    const imported = async (path: string, name: string, kind: string) => {
      const args = ["--store", store, "--project", name, "--kind", kind, "--judgements", "--json"];
      return JSON.parse(await succeed(["labels", "import", path, ...args]));
    };
    const judged = await imported(join(folder, "judged/comparisons.jsonl"), "Judged", "pairwise");
    const revised = await imported(join(folder, "revised/revisions.jsonl"), "Revised", "demonstration");
    expect([judged.judgements, revised.judgements]).toEqual([2, 4]);

    const said = prompts.map((row) => JSON.stringify({ ...row, ranks: [1, 2], labeler: "zoe" })).join("\n");
    const people = ["labels", "import", file("people.jsonl", said), "--store", store, "--project", "Judged"];
    expect(await succeed([...people, "--judgements"])).toMatch(/0 tasks added.*2 judgements/s);

    const { page } = await asOwner("Auditor");
    // How far the model and a person agree.
    await page.goto(`${address}/projects/${judged.project}/quality`);
    const pair = page.getByRole("region", { name: "Pairs of labelers" }).getByRole("row").nth(1);
    expect(await pair.textContent()).toMatch(/by kindness.*zoe|zoe.*by kindness/);
    const open = async (project: string) => {
      await page.goto(`${address}/projects/${project}/labelers`);
      await page.getByRole("button", { name: "by kindness" }).click();
      const all = page.getByRole("region", { name: "Judgements, the newest first" });
      await expect.poll(() => all.getByRole("row").count()).toBe(3);
      return all;
    };
    const comparisons = await open(judged.project);
    expect(await comparisons.textContent()).toMatch(/% sure.*kind: log-odds of the better one [+-]\d/s);
    await inspect(page, "ai-judgements");
    await comparisons.getByRole("link", { name: "one" }).click();
    await page.getByRole("button", { name: "Overrule" }).click();
    await page.getByRole("button", { name: "Decide" }).waitFor();
    await inspect(page, "ai-overrule");
    await page.getByLabel("Both are bad").check();
    await page.getByRole("button", { name: "Decide" }).click();
    await page.getByText("Decided by Auditor").waitFor();
    const rest = ["labels", "export", "--store", store, "--project", judged.project];
    const soft = jsonLines(await succeed(rest));
    expect(soft.map(({ labeler }) => labeler)).toEqual([expect.stringMatching(/by kindness/), "zoe"]);
    expect(soft[0]).toMatchObject({
      comment: expect.stringMatching(/^kind: /),
      labeler: expect.stringMatching(/by kindness/),
    });
    expect(soft[0].probability).toBeGreaterThanOrEqual(0.5);

    const revisions = await open(revised.project);
    await revisions.getByRole("link", { name: "two" }).click();
    // The first round, which the second took the place of, is there too.
    await expect.poll(() => page.getByRole("heading", { name: "wrote it" }).count()).toBe(2);
    expect(await page.getByRole("region", { name: "Judgements" }).textContent()).toContain("kind: ");
    await inspect(page, "ai-revisions");
    await page.getByRole("button", { name: "Overrule" }).click();
    await page.getByLabel("Your response").fill("Better.");
    await page.getByRole("button", { name: "Decide" }).click();
    await page.getByRole("heading", { name: "As decided" }).waitFor();
    const learned = jsonLines(
      await succeed([...rest.slice(0, 4), "--project", revised.project, "--format", "prompt-completion"]),
    );
    expect(learned.map(({ completion }) => completion[0].content)).toContain("Better.");
    expect(JSON.parse(await succeed(["labels", "verify", "--store", store, "--json"])).problems).toEqual([]);
  }, 240_000);

  it("keeps what a labeler wrote: left, undone, offline, signed out, taken over, republished", async () => {
    const { context, page, make } = await asOwner("Third owner");
    const rows = Array.from({ length: 6 }, (_, i) => ({
      prompt: `Number ${i}?`,
      completions: ["yes", "no"],
    }));
    const project = await make("Kept", { kind: "pairwise", rubric: [{ name: "tone" }] }, rows);
    const desk = `${address}/projects/${project}/label`;
    await page.goto(desk);
    const chosen = async () =>
      Number(await page.locator("label:has(input[name=preference]:checked) kbd").allTextContents());
    const rate = async () => {
      for (const letter of "AB") {
        const tone = page
          .getByRole("region", { name: `Answer ${letter}` })
          .getByRole("group", { name: "tone" });
        await tone.getByRole("radio").first().focus();
        // A number is the rating's that has the focus, not the preference's.
        await page.keyboard.press("6");
        expect(await tone.getByLabel("6").isChecked()).toBe(true);
      }
    };

    // A comment taken back leaves its box open; Ctrl+Enter submits from there.
    await page.getByText("0 answered").waitFor();
    await page.keyboard.press("x");
    expect(await page.getByLabel("Both are bad").isChecked()).toBe(true);
    await page.keyboard.press("3");
    await rate();
    expect(await chosen()).toBe(3);
    await page.getByText("Comment", { exact: true }).click();
    const comment = page.getByLabel("Anything worth saying");
    await comment.fill("a");
    await comment.fill("");
    await comment.fill("said");
    await page.keyboard.press("Control+Enter");
    await page.getByText("1 answered").waitFor();

    // Chosen, and something else opened before the draft would have been saved.
    await page.keyboard.press("7");
    await page.keyboard.press("u");
    await page.getByText("Changing your last answer").waitFor();
    expect(await comment.inputValue()).toBe("said");
    await page.getByRole("button", { name: "Leave it as it was" }).click();
    expect(await chosen()).toBe(7);
    await page.reload();
    await expect.poll(chosen).toBe(7);
    const saved = page.waitForResponse((reply) => reply.url().endsWith("/draft"));
    await page.keyboard.press("2");
    await page.getByRole("link", { name: "Guidelines" }).click();
    await saved;
    await page.goBack();
    await expect.poll(chosen).toBe(2);

    // No network, then no session.
    await rate();
    await page.route("**/judgement", (route) => route.abort());
    await page.keyboard.press("Enter");
    await page.getByText("cannot be reached").waitFor();
    expect(await chosen()).toBe(2);
    await page.unroute("**/judgement");
    const cookies = await context.cookies();
    await context.clearCookies();
    await page.keyboard.press("Enter");
    await page.getByRole("link", { name: "sign in in a new tab" }).waitFor();
    expect(await chosen()).toBe(2);
    await context.addCookies(cookies);
    await page.keyboard.press("Enter");
    await page.getByText("2 answered").waitFor();

    // Somebody else has it: the next one comes, and why is still there to be read.
    await page.route(
      "**/judgement",
      (route) => route.fulfill({ status: 409, json: { error: "it went to somebody else" } }),
      { times: 1 },
    );
    await page.keyboard.press("1");
    await rate();
    const next = page.waitForResponse((reply) => reply.url().endsWith("/next"));
    await page.keyboard.press("Enter");
    await next;
    expect(await page.getByText("it went to somebody else").isVisible()).toBe(true);

    // A draft from before the project asked for more is still one to go on from; the page's end saves it.
    await page.reload();
    await page.getByText("2 answered").waitFor();
    await page.keyboard.press("1");
    await rate();
    const tab = (name: string) =>
      page.getByRole("navigation", { name: "Set up" }).getByRole("link", { name });
    await page.goto(`${address}/projects/${project}/settings/options`);
    await page.getByRole("button", { name: "Add a criterion" }).click();
    await page.getByLabel("Criterion 2", { exact: true }).fill("style");
    await page.getByText("More", { exact: true }).click();
    await page.getByLabel("Minutes that a task is kept").fill("");
    await tab("Guidelines").click();
    await page.getByLabel("In Markdown").fill("Be kind.");
    await page.getByRole("button", { name: "Add a question" }).click();
    // Neither saved nor published, and left: it is still there, and says so, and labelers see nothing of it.
    await page.getByRole("link", { name: "Quality" }).click();
    await page.getByRole("heading", { name: "Agreement" }).waitFor();
    await page.goto(`${address}/projects/${project}/settings/guidelines`);
    await page.getByText("Not published yet").waitFor();
    expect(await page.getByLabel("In Markdown").inputValue()).toBe("Be kind.");
    await tab("Settings").click();
    await page.getByText("Not saved yet").waitFor();
    await inspect(page, "settings-unsaved");
    expect(await page.getByLabel("Criterion 2", { exact: true }).inputValue()).toBe("style");
    expect(await page.getByLabel("Minutes that a task is kept").inputValue()).toBe("");
    await page.getByRole("button", { name: "Discard" }).last().click();
    await expect.poll(() => page.getByLabel("Criterion 2", { exact: true }).count()).toBe(0);
    expect(await page.getByLabel("Minutes that a task is kept").inputValue()).toBe("30");
    await page.getByRole("button", { name: "Add a criterion" }).click();
    await page.getByLabel("Criterion 2", { exact: true }).fill("style");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved.").waitFor();
    await tab("Guidelines").click();
    await page.getByLabel("Question", { exact: true }).fill("Kind?");
    await page.getByLabel("Answers, one a line").fill("\nyes\n\nno");
    await page.getByLabel("Right one").selectOption("yes");
    await page.getByRole("button", { name: "Publish version 1" }).click();
    await page.getByText("Published.").waitFor();
    await page.reload();
    await expect.poll(() => page.getByLabel("In Markdown").inputValue()).toBe("Be kind.");
    expect(await page.getByText(/Not (saved|published) yet/).count()).toBe(0);
    await page.goto(desk);
    await page.getByRole("link", { name: "To the guidelines" }).click();
    await page.getByLabel("yes").check();
    await page.getByRole("button", { name: "Check my answers" }).click();
    await page.getByRole("group", { name: "style" }).first().waitFor();
    await expect.poll(chosen).toBe(1);
    await page.keyboard.press("Enter");
    await page.getByText("Rate answer A on style.").waitFor();

    await page.goto(`${address}/projects/${project}/settings/guidelines`);
    await expect.poll(() => page.getByLabel("Question", { exact: true }).inputValue()).toBe("Kind?");
    // With the right answer, which is the third line's as it was typed and the first of two as it was published.
    expect(await page.getByLabel("Right one").inputValue()).toBe("0");
    await inspect(page, "settings-questions");
    expect(problems.filter((problem) => !/ERR_FAILED/.test(problem))).toEqual([]);
  }, 120_000);

  it("lets people change a password, and reset a forgotten one by an owner's link", async () => {
    const { page: owner } = await asOwner("Keeper of keys");
    await owner.goto(`${address}/account`);
    await owner.getByLabel("Old password").fill("not the old password");
    await owner.getByLabel("New password").fill("a second password");
    await owner.getByRole("button", { name: "Change" }).click();
    await owner.getByRole("alert").getByText("the old password is wrong").waitFor();
    await owner.getByLabel("Old password").fill(password);
    await owner.getByRole("button", { name: "Change" }).click();
    await owner.getByText("Changed.").waitFor();
    expect(await owner.getByLabel("Old password").inputValue()).toBe("");
    await inspect(owner, "account");
    await owner.goto(address);
    await owner.getByRole("link", { name: "People" }).click();
    await owner.getByRole("button", { name: "Make a link for Keeper of keys" }).click();
    const field = owner.getByLabel("Send this link to one person");
    await field.waitFor();
    await inspect(owner, "people");
    const reset = await field.inputValue();
    const [, page] = await open({ viewport: { width: 400, height: 800 } });
    await page.goto(reset);
    await page.getByText("For Keeper of keys.").waitFor();
    await inspect(page, "reset-narrow");
    await page.getByLabel("New password").fill("a third password");
    await page.keyboard.press("Enter");
    await page.getByRole("heading", { name: "Projects", level: 1 }).waitFor();
    await page.goto(reset);
    await page.getByRole("alert").getByText("used already").waitFor();
    // Where the old one was signed in, it is no more.
    await owner.goto(address);
    await owner.getByLabel("Name").fill("Keeper of keys");
    await owner.getByLabel("Password").fill("a third password");
    await owner.getByRole("button", { name: "Sign in" }).click();
    await owner.getByRole("heading", { name: "Projects", level: 1 }).waitFor();
    expect(problems.filter((problem) => !/status of 40[04]|ERR_FAILED/.test(problem))).toEqual([]);
  }, 60_000);

  it("asks for a criterion that was added while a labeler judged", async () => {
    const { context, page, make } = await asOwner("Changer");
    const settings = { kind: "pairwise", rubric: [{ name: "tone", low: 1, high: 3 }] };
    const project = await make("Changing", settings, [
      { prompt: "one", completions: ["a", "b"] },
      { prompt: "two", completions: ["c", "d"] },
    ]);
    await page.goto(`${address}/projects/${project}/label`);
    await page.getByText("0 answered").waitFor();
    const rate = async (criterion: string, value: string) => {
      for (const letter of "AB")
        await page
          .getByRole("region", { name: `Answer ${letter}` })
          .getByRole("group", { name: criterion })
          .getByLabel(value, { exact: true })
          .check();
    };
    await page.keyboard.press("3");
    await rate("tone", "2");
    const rubric = [...settings.rubric, { name: "clarity", low: 1, high: 5 }];
    const changed = await context.request.patch(`${address}/api/projects/${project}`, {
      data: { settings: { ...settings, rubric, goldRate: 0, repeatRate: 0 } },
      headers: { "x-plumbline": "1" },
    });
    expect(changed.status()).toBe(200);
    await page.keyboard.press("Enter");
    // The preference and the ratings stay; the new criterion is asked for without a reload.
    await page.getByRole("group", { name: "clarity" }).first().waitFor();
    expect(await page.getByRole("group", { name: "tone" }).first().getByLabel("2").isChecked()).toBe(true);
    await rate("clarity", "5");
    await page.keyboard.press("Enter");
    await page.getByText("1 answered").waitFor();
    expect(problems.filter((problem) => !/status of 40[04]|ERR_FAILED/.test(problem))).toEqual([]);
  }, 60_000);

  it("imports packed files, and shows what is wrong with others and what an export would hold", async () => {
    const { page, make } = await asOwner("Porter");
    const project = await make("Packed", { kind: "pairwise" }, [{ prompt: "one", completions: ["a", "b"] }]);
    await page.goto(`${address}/projects/${project}/settings`);
    const choose = (name: string, bytes: Buffer) =>
      page
        .getByLabel("File", { exact: true })
        .setInputFiles({ name, mimeType: "application/octet-stream", buffer: bytes });
    const alert = page.getByRole("alert");
    await choose("rows.jsonl", Buffer.from('{"prompt": "one"}\n{"prompt":'));
    await alert.getByText("rows.jsonl:2: not valid JSON").waitFor();
    await inspect(page, "import-error");
    await choose("rows.xlsx", Buffer.from("PK\x03\x04"));
    await alert.getByText("save the sheet as CSV").waitFor();
    await page.getByLabel("The file is for").selectOption("judgements");
    const row = { prompt: "two", chosen: "c", rejected: "d" };
    await choose("rows.jsonl.gz", gzipSync(JSON.stringify(row)));
    await page.getByText("1 row: 1 task, 1 judgement to import.").waitFor();
    await page.getByRole("link", { name: "Export" }).click();
    await page.getByText("Nothing to export in this format.").waitFor();
    expect(await page.getByRole("link", { name: "Parquet" }).count()).toBe(0);
    await page.getByRole("link", { name: "Tasks" }).click();
    await page.getByLabel("The file is for").selectOption("judgements");
    await choose("rows.jsonl.gz", gzipSync(JSON.stringify(row)));
    await page.getByRole("button", { name: "Import", exact: true }).click();
    await page.getByText("Imported: 1 task, 1 judgement.").waitFor();
    await page.getByRole("link", { name: "Export" }).click();
    await page.getByText("1 rows.").waitFor();
    await page.getByRole("link", { name: "Parquet" }).waitFor();
    await page.getByLabel("Format").selectOption("ultrafeedback");
    await page.getByText("1 tasks left out: its judgements have nothing").waitFor();
    await inspect(page, "export");
    expect(problems.filter((problem) => !/status of 40[04]|ERR_FAILED/.test(problem))).toEqual([]);
  }, 60_000);

  it("lets people make tokens, which programs use until they are revoked", async () => {
    const { page, make } = await asOwner("Tessa Token");
    const project = await make("Automated", { kind: "pairwise" }, [
      { prompt: "one", completions: ["a", "b"] },
    ]);
    await page.getByRole("link", { name: "Tessa Token" }).click();
    await page.getByRole("link", { name: "your tokens" }).click();
    await page.getByLabel("Name").fill("nightly import");
    await page.getByLabel("import tasks").check();
    await page.getByLabel("For use in").selectOption("Automated");
    await inspect(page, "tokens-empty");
    await page.getByRole("button", { name: "Make a token" }).click();
    const field = page.getByLabel("Copy this token now");
    await field.waitFor();
    const token = await field.inputValue();
    expect(token).toMatch(/^plumbline_/);
    const send = async (path: string, body?: object) => {
      const reply = await fetch(`${address}/api/projects/${project}${path}`, {
        headers: { authorization: `Bearer ${token}`, ...(body && { "content-type": "application/json" }) },
        ...(body && { method: "POST", body: JSON.stringify(body) }),
      });
      return { status: reply.status, body: (await reply.json()) as { error?: string } };
    };
    const file = { name: "more.jsonl", text: JSON.stringify({ prompt: "two", completions: ["c", "d"] }) };
    expect(await send("/import", file)).toMatchObject({ status: 200, body: { kept: 1 } });
    expect((await send("")).body).toMatchObject({ name: "Automated", tasks: 2 });
    expect((await send("/next", {})).body.error).toMatch(/scope "label"/);

    await page.reload();
    const own = page.getByRole("region", { name: "Your tokens" });
    await own.waitFor();
    expect(await own.textContent()).toMatch(/nightly import.*read, import.*Automated/);
    expect(await page.content()).not.toContain(token);
    await inspect(page, "tokens");
    await page.getByRole("button", { name: "Revoke nightly import" }).click();
    await expect.poll(() => own.count()).toBe(0);
    expect((await send("")).status).toBe(401);
    expect(problems.filter((problem) => !/status of 40[04]|ERR_FAILED/.test(problem))).toEqual([]);
  }, 60_000);

  it("lets owners change roles, remove people, revoke invitations and close accounts", async () => {
    const { page: owner, make } = await asOwner("Manager");
    const project = await make("Staffed", { kind: "pairwise" }, [{ prompt: "one", completions: ["a", "b"] }]);
    await owner.goto(`${address}/projects/${project}/settings/people`);
    await owner.getByLabel("Invite").selectOption("reviewer");
    const invitations = owner.getByRole("region", { name: "Open invitations" });
    const links: string[] = [];
    for (const rows of [2, 3]) {
      await owner.getByRole("button", { name: "Make a link" }).click();
      await expect.poll(() => invitations.getByRole("row").count()).toBe(rows);
      links.push(await owner.getByLabel("Send this link to one person").inputValue());
    }
    const [, page] = await open();
    await claim(page, links[0] as string, "Rita");
    await page.getByRole("link", { name: "Quality" }).waitFor();
    await owner.reload();
    await expect.poll(() => invitations.getByRole("row").count()).toBe(2);
    await inspect(owner, "members");
    await owner.getByRole("button", { name: "Revoke the invitation of a reviewer" }).click();
    await expect.poll(() => invitations.count()).toBe(0);
    await page.goto(links[1] as string);
    await page.getByRole("alert").getByText("used already").waitFor();

    const role = owner.getByLabel("Role of Rita");
    await role.selectOption("labeler");
    await expect.poll(() => role.inputValue()).toBe("labeler");
    await page.goto(address);
    await page.getByRole("link", { name: "Staffed" }).waitFor();
    expect(await page.getByRole("link", { name: "Quality" }).count()).toBe(0);
    await owner.getByRole("button", { name: "Remove Rita" }).click();
    const dialog = owner.getByRole("dialog");
    await inspect(owner, "remove-member");
    await dialog.getByRole("button", { name: "Remove" }).click();
    await expect.poll(() => role.count()).toBe(0);
    await page.goto(`${address}/projects/${project}`);
    await page.getByRole("alert").getByText("not a member").first().waitFor();

    await owner.goto(`${address}/people`);
    await role.waitFor();
    await inspect(owner, "people-accounts");
    await owner.getByRole("button", { name: "Close the account of Rita" }).click();
    await dialog.getByRole("button", { name: "Close it" }).click();
    const reopen = owner.getByRole("button", { name: "Reopen the account of Rita" });
    await reopen.waitFor();
    await reopen.click();
    await owner.getByRole("button", { name: "Close the account of Rita" }).waitFor();
    // Reopened, it is still signed out.
    await page.goto(address);
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await role.selectOption("owner of everything");
    await expect.poll(() => role.inputValue()).toBe("owner");
    expect(problems.filter((problem) => !/status of 40[04]|ERR_FAILED/.test(problem))).toEqual([]);
  }, 60_000);

  /** A browser of a new owner, and what makes projects of rows. */
  async function asOwner(called: string) {
    const [context, page] = await open({ viewport: { width: 1280, height: 900 } });
    const opened = await LabelStore.open(store);
    const { token } = await createInvitation(opened, null, "owner", null);
    await opened.close();
    await claim(page, `${address}/claim/${token}`, called);
    const post = async (path: string, data: object) =>
      (await context.request.post(`${address}/api${path}`, { data, headers: { "x-plumbline": "1" } })).json();
    const make = async (name: string, settings: object, rows: object[]) => {
      const { id } = await post("/projects", { name, settings: { goldRate: 0, repeatRate: 0, ...settings } });
      const text = rows.map((row) => JSON.stringify(row)).join("\n");
      const found = await post(`/projects/${id}/import`, { name: "rows.jsonl", text });
      expect(found.kept).toBe(rows.length);
      return id as string;
    };
    return { context, page, make };
  }

  /** Qualifies and does 20 tasks by the keyboard alone. The third labeler prefers the worse ones. */
  async function work(page: Page, k: number): Promise<void> {
    const press = (key: string) => page.keyboard.press(key);
    const focusOn = async (name: string) => {
      for (let i = 0; i < 40; i++) {
        await press("Tab");
        const text = await page.evaluate<string>(
          `(document.activeElement.closest("label") ?? document.activeElement).textContent`,
        );
        if (text.includes(name)) return;
      }
      throw new Error(`no way to "${name}" by Tab`);
    };
    await page.getByRole("link", { name: "Helpful answers" }).waitFor();
    await focusOn("Helpful answers");
    await press("Enter");
    await page.getByText("Do we want refusals?").waitFor();
    if (k === 0) await inspect(page, "guidelines-narrow");
    await focusOn("yes");
    await press("ArrowDown");
    await focusOn("Check my answers");
    await press("Enter");
    for (let i = 0; i < 20; i++) {
      await page.getByText(`${i} answered`).waitFor();
      const first = page.getByRole("region", { name: "Answer A" });
      const isGood = (await first.textContent())?.includes("GOOD");
      if (i === 0) {
        await inspect(page, k ? "label" : "label-narrow");
        await press("Enter");
        await page.getByText("Say which answer is better").waitFor();
        await press("?");
        await page.getByRole("heading", { name: "Keys" }).waitFor();
        await press("Escape");
      }
      // Keys are text in a box, and what is written there is kept.
      if (i === 1 && k === 1) {
        await focusOn("Comment");
        await press("Enter");
        await page.getByLabel("Anything worth saying").focus();
        await page.keyboard.type("12 eggs? u s");
        await expect.poll(() => page.getByLabel("Anything worth saying").inputValue()).toBe("12 eggs? u s");
        await page.waitForTimeout(1000); // the draft is saved
        await page.reload();
        await expect.poll(() => page.getByLabel("Anything worth saying").inputValue()).toBe("12 eggs? u s");
        const again = (await first.textContent())?.includes("GOOD");
        expect(again).toBe(isGood);
      }
      await press(isGood !== (k === 2) ? "2" : "7");
      await press("Enter");
    }
    await page.getByText("20 answered").waitFor();
    // The last answer opens as it was shown.
    await press("u");
    await page.getByText("Changing your last answer").waitFor();
    expect(await page.locator("input[name=preference]:checked").count()).toBe(1);
    await press("Enter");
    await page.getByText("Changed.").waitFor();
  }
});
