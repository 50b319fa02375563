import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createInvitation, createPasswordReset, openSession } from "../src/labels/accounts.ts";
import { nextTask, submitJudgement } from "../src/labels/labeling.ts";
import { submitQualification } from "../src/labels/qualification.ts";
import type { Assignment, NewTask, Project, User } from "../src/labels/records.ts";
import type { Answer } from "../src/labels/settings.ts";
import { LabelStore } from "../src/labels/store.ts";
import { sessionCookie } from "../src/server/labels/context.ts";
import { uniform } from "../src/statistics/random.ts";
import { browserPath, type LabelApp, screenshot, startLabelApp, violations } from "./label-browser.ts";

/** A phone, a tablet, a laptop and a large screen. */
const widths = [390, 768, 1366, 2560];

const longName = "Maximiliane-Charlotte von Hohenstein-Wittgenstein zu Schaumburg";
const unbroken = "Wolfeschlegelsteinhausenbergerdorffwelchevoralternwarengewissenhaftschafers";

const prompt = `## The task

I keep a list of measurements in Python and need **the largest value that at least half of them reach**. My attempt is slow:

\`\`\`python
def largest(values: list[float]) -> float:
    return max(v for v in values if sum(other >= v for other in values) * 2 >= len(values))  # quadratic
\`\`\`

1. Explain why it is slow.
2. Write a faster one.
   - It must not change the list.
   - It must work for *one* value.

| values | wanted |
| ------ | -----: |
| 1 2 3  |      2 |
| 5      |      5 |

The median \\(m\\) satisfies \\[\\int_{-\\infty}^{m} p(x)\\,dx = \\frac{1}{2}.\\]`;
const good = `It compares every value with **every other**: $$n^2$$ comparisons. Sort a copy instead:

\`\`\`python
def largest(values: list[float]) -> float:
    return sorted(values, reverse=True)[(len(values) - 1) // 2]
\`\`\`

- \`sorted\` does not change the list.
- For one value, the index is 0.

> Sorting takes \\(O(n \\log n)\\) steps.`;
const bad =
  "Use numpy.median, it is quick. I have not tried it with one value, and do not know what it does.";
const edited = good.replace("Sort a copy instead", "You could sort a copy");

const guidelines = `# What we want

Prefer the answer that is **right**; of two that are right, the shorter.

1. Read both answers.
2. Try the code.

## Never

- Prefer an answer because it is long.
- Share what you read here: \`it is private\`.`;

describe.skipIf(!browserPath)("every page of the label app", () => {
  let app: LabelApp;
  let made: Awaited<ReturnType<typeof makeStore>>;

  beforeAll(async () => {
    const path = join(mkdtempSync(join(tmpdir(), "label-pages-")), "labels.db");
    made = await makeStore(path);
    app = await startLabelApp(path);
  });
  afterAll(() => app?.close());

  /** Opens a browser, signed in as a user. */
  async function openAs(session: string, options: Parameters<LabelApp["open"]>[0] = {}): Promise<Page> {
    const [context, page] = await app.open(options);
    if (session) await context.addCookies([{ name: sessionCookie, value: session, url: app.address }]);
    return page;
  }

  /** Visits pages and checks each at all widths, in both colour schemes. */
  async function visit(session: string, name: string, pages: readonly PageVisit[]): Promise<string[]> {
    const page = await openAs(session);
    const found: string[] = [];
    for (const [path, text, prepare] of pages) {
      await page.goto(app.address + path);
      await page.getByText(text).first().waitFor();
      await prepare?.(page);
      const label = `${name}${path.replace(/\W[a-z0-9]{16,}|\W[\w-]{43}/g, "").replaceAll("/", "-")}`;
      for (const width of widths) {
        await page.setViewportSize({ width, height: 900 });
        const at = `${label} at ${width}`;
        const scrolled = await page.evaluate<number>("document.scrollingElement.scrollWidth - innerWidth");
        if (scrolled > 0) found.push(`${at}: the page scrolls by ${scrolled} px to the right`);
        for (const colorScheme of ["light", "dark"] as const) {
          await page.emulateMedia({ colorScheme });
          found.push(...(await violations(page)).map((violation) => `${at}, ${colorScheme}: ${violation}`));
          await screenshot(page, `${label}-${text.replace(/\W/g, "")}-${width}-${colorScheme}`);
        }
        if (width === 1366) found.push(...(await notReached(page)).map((html) => `${at}: ${html}`));
      }
    }
    await page.context().close();
    return found;
  }

  it("has no fault that axe finds, does not scroll sideways, and is complete by Tab", async () => {
    const { owner, labeler, pairs, ranking, rating, writing, done, disputed, links } = made;
    const project = `/projects/${pairs}`;
    const found = await Promise.all([
      visit(owner, "owner", [
        ["/", "Rankings"],
        ["/account", "Change the password"],
        ["/people", "new password"],
        ["/projects/new", "What labelers do"],
        [project, "Never"],
        [`${project}/settings`, "Import a file"],
        [`${project}/settings/guidelines`, "In Markdown"],
        [`${project}/settings/people`, "Open invitations"],
        [`${project}/settings/options`, "Archive the project"],
        [`${project}/settings/export`, "Format"],
        [`${project}/quality`, "Most disagreed about"],
        [`/projects/${ranking}/quality`, "Money"],
        [`${project}/labelers`, "agreement by week"],
        [`${project}/labelers`, "reliability", openContrary],
        [`${project}/disputes`, "tasks to decide"],
        [`${project}/tasks/${disputed}`, "Overrule"],
        [
          `${project}/tasks/${disputed}`,
          "Judgements",
          (page) => page.getByRole("button", { name: "Overrule" }).click(),
        ],
        [`/projects/${done}/label`, "There is nothing left"],
        ["/nowhere", "Page not found"],
      ]),
      visit(labeler, "labeler", [
        ["/", "Rankings"],
        ["/account", "Change the password"],
        [project, "Before you begin"],
        [`${project}/label`, "To the guidelines"],
        [`/projects/${ranking}/label`, "Best first"],
        [`/projects/${rating}/label`, "helpfulness"],
        [`/projects/${writing}/label`, "Your response"],
        [`/projects/${done}/label`, "The task"],
        [`/projects/${done}/label`, "Differences", (page) => page.keyboard.press("d")],
      ]).then(async (found) => [
        ...found,
        ...(await visit("", "nobody", [
          ["/", "Forgot your password"],
          [`/claim/${links.claim}`, "Create an account"],
          [`/claim/${"x".repeat(43)}`, "used already"],
          [`/reset/${links.reset}`, "At least 10 characters"],
        ])),
      ]),
    ]);
    expect(found.flat()).toEqual([]);
    expect(app.problems.filter((problem) => !/status of 40[04]/.test(problem))).toEqual([]);
  }, 240_000);

  it("has targets of 44 px for fingers, and no keys, on a phone", async () => {
    const { labeler, ranking, rating, writing, done } = made;
    const phone = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };
    const page = await openAs(labeler, phone);
    for (const project of [ranking, rating, writing, done]) {
      await page.goto(`${app.address}/projects/${project}/label`);
      await page.getByRole("button", { name: "Submit" }).waitFor();
      await screenshot(page, `phone-${project}`, false);
      expect(await page.evaluate<string[]>(smallTargets)).toEqual([]);
      expect(await page.getByRole("button", { name: "Keys" }).count()).toBe(0);
      // The scale's labels are numbers.
      expect((await page.locator("kbd:visible").allTextContents()).join("")).toBe(
        project === done ? "12345678" : "",
      );
    }
  });

  it("says how many tasks are done, on the page of a project and on those for labeling it", async () => {
    const { owner, labeler, pairs, done } = made;
    const page = await openAs(labeler);
    await page.goto(`${app.address}/projects/${pairs}`);
    await page.getByText(/^0 answered by you, \d+ of 16 tasks done$/).waitFor();
    const page2 = await openAs(owner);
    await page2.goto(`${app.address}/projects/${done}/label`);
    await page2.getByText("1 answered by you, 0 of 1 tasks done").waitFor();
    // Another labeler completes the task.
    await page.goto(`${app.address}/projects/${done}/label`);
    await page.getByRole("button", { name: "Submit" }).waitFor();
    await page.keyboard.press("2");
    await page.keyboard.press("Enter");
    await page.getByText("1 answered by you, 1 of 1 tasks done").waitFor();
    expect(await page.title()).toMatch(/^Done /);
    await page2.goto(`${app.address}/projects/${pairs}/quality`);
    await expect.poll(() => page2.title()).toBe(`Quality · ${unbroken} · plumbline`);
  });

  it("highlights what differs in two versions of a text, and nothing in two unrelated ones", async () => {
    const page = await openAs(made.owner);
    const answers = page.getByRole("region", { name: "Answer" });
    for (const [project, related] of [
      [made.ranking, true],
      [made.rating, false],
    ] as const) {
      await page.goto(`${app.address}/projects/${project}/label`);
      await answers.first().waitFor();
      await page.keyboard.press(related ? "/" : "d");
      await page.getByRole("button", { name: "Differences", pressed: true }).waitFor();
      expect((await page.locator("ins").count()) > 0).toBe(related);
      expect(await page.getByText("Less than half of the two texts is in common").count()).toBe(
        related ? 0 : 2,
      );
    }
  });
});

/** Path of a page, a text that it shows, and what is done there first. */
type PageVisit = readonly [path: string, text: string, prepare?: (page: Page) => Promise<void>];

async function openContrary(page: Page): Promise<void> {
  await page.getByRole("button", { name: unbroken }).click();
  await page.getByRole("region", { name: "Judgements, the newest first" }).waitFor();
}

/** Presses Tab through a page. @returns what is not reached though it is visible and enabled, or is reached though it is not */
async function notReached(page: Page): Promise<string[]> {
  const stops = await page.evaluate<number>(`
    window.reached = new Set();
    addEventListener("focusin", ({ target }) => reached.add(target));
    document.querySelector("a.skip").focus();
    window.stops = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex]")]
      .filter((element) => element.tabIndex >= 0 && !element.disabled && element.checkVisibility());
    stops.length`);
  for (let i = 0; i < stops; i++) await page.keyboard.press("Tab");
  return page.evaluate<string[]>(`
    // Tab stops once at a group of radio buttons.
    const stopOf = (element) => (element.type === "radio" ? element.name : element);
    const missing = (from, others) => {
      const known = new Set([...others].map(stopOf));
      return [...from].filter((element) => element !== document.body && !known.has(stopOf(element)));
    };
    [
      ...missing(stops, reached).map((element) => "Tab does not reach " + element.outerHTML.slice(0, 200)),
      ...missing(reached, stops).map((element) => "Tab reaches " + element.outerHTML.slice(0, 200)),
    ]`);
}

/** Lists the visible buttons, inputs and choices that are less than 44 px high. */
const smallTargets = `
  [...document.querySelectorAll(
    // A radio button's or checkbox's target is its label.
    "button, select, textarea, summary, .button, label:has(> :is([type=radio], [type=checkbox]))," +
    "input:not([type=radio], [type=checkbox])"
  )]
    .filter((element) => element.checkVisibility() && element.getBoundingClientRect().height < 44)
    .map((element) => element.outerHTML.slice(0, 200))`;

/**
 * Makes a store with projects of all kinds, people and judgements.
 * @returns tokens of sessions, links and the ids of projects
 */
async function makeStore(path: string) {
  // Judgements are of several weeks.
  let clock = Date.now() - 20 * 24 * 3600_000;
  const past = await LabelStore.open(path, () => (clock += 60_000), uniform(1));
  const owner = await past.addUser(null, { name: longName, role: "owner" });
  const labelers: User[] = [];
  for (const name of ["Ada", "Béla", "Chidi", unbroken])
    labelers.push(await past.addUser(owner.id, { name, role: "labeler" }));
  const labeler = await past.addUser(owner.id, { name: `${longName} the Younger`, role: "labeler" });
  await past.changeUser(owner.id, (labelers[0] as User).id, {
    skills: ["French", "Python"],
    cohort: { experience: "new" },
  });
  await past.changeUser(owner.id, (labelers[1] as User).id, { cohort: { experience: "old" } });

  const make = async (
    name: string,
    settings: Parameters<LabelStore["addProject"]>[1]["settings"],
    tasks: NewTask[],
  ) => {
    const project = await past.addProject(owner.id, { name, settings });
    await past.write(async (tx) => {
      for (const { id } of [...labelers, labeler])
        await past.record(tx, owner.id, { type: "joined", project: project.id, user: id, role: "labeler" });
    });
    await past.addTasks(owner.id, project, tasks);
    return past.project(project.id);
  };
  const ask = (content: string) => [{ role: "user" as const, content }];
  const task = (content: string, ...texts: string[]): NewTask => ({
    messages: ask(content),
    completions: texts.map((text) => ({ text, model: "a model" })),
  });
  const rest = { goldRate: 0, repeatRate: 0 };

  const pairs = await make(
    unbroken,
    { kind: "pairwise", overlap: 3, flags: ["unsafe"], price: 0.25, goldRate: 0.3, repeatRate: 0.3 },
    Array.from(
      { length: 16 },
      (_, i): NewTask => ({
        ...task(`${i}. ${prompt}`, good, bad),
        messages: [{ role: "system", content: "Be brief." }, ...ask("Hello."), ...ask(`${i}. ${prompt}`)],
      }),
    ),
  );
  await past.addTasks(
    owner.id,
    pairs,
    [0, 1, 2, 3].map((i) => ({ ...task(`Known ${i}?`, good, bad), gold: { preference: 2 } })),
  );
  await past.publishGuidelines(owner.id, pairs.id, {
    text: guidelines,
    questions: [{ question: "Which is better?", options: ["the longer one", "the right one"], correct: 1 }],
  });
  const guided = await past.project(pairs.id);
  for (const { id } of [...labelers, owner]) await submitQualification(past, guided, id, [1]);
  const judge = async (
    project: Project,
    rounds: number,
    answer: (shown: Assignment, i: number) => Answer,
  ) => {
    for (let round = 0; round < rounds; round++) {
      clock += 24 * 3600_000;
      for (const [i, user] of labelers.entries()) {
        const shown = await nextTask(past, project, user);
        if (shown) await submitJudgement(past, shown.lease, user.id, answer(shown, i), 20 + i);
      }
    }
  };
  await judge(guided, 12, ({ completions, messages }, i) => {
    if (i === 1 && messages[0]?.content.startsWith("Known")) return { skip: "Unclear prompt" };
    const isFirst = completions[0] === good;
    // The last labeler prefers the worse answers.
    return { preference: isFirst !== (i === 3) ? 2 : 7, comment: "The code is right." };
  });

  const rubric = [{ name: "helpfulness" }, { name: "truthfulness", high: 5 }];
  const ranking = await make(
    "Rankings of four answers, of which some are edited versions of others",
    { kind: "ranking", rubric, flags: ["spam", "private"], overlap: 1, ...rest },
    [0, 1, 2].map((i) => task(`${i}. ${prompt}`, good, edited, `${good} Done.`, `${edited} Done.`)),
  );
  const rating = await make("Ratings", { kind: "rating", rubric, overlap: 5, ...rest }, [
    task(prompt, good, bad),
    task(prompt, bad, good),
  ]);
  const writing = await make("Demonstrations", { kind: "demonstration", overlap: 5, ...rest }, [
    task(prompt, good),
  ]);
  const done = await make(
    "Done but for one judgement",
    { kind: "pairwise", overlap: 2, maxOverlap: 2, ...rest },
    [task(prompt, good, bad)],
  );
  const last = (await nextTask(past, done, owner)) as Assignment;
  await submitJudgement(past, last.lease, owner.id, { preference: 1 }, 9);
  const judgement = await past.db
    .selectFrom("judgement")
    .innerJoin("task", "task.id", "judgement.task")
    .select("judgement.task")
    .where("judgement.project", "=", pairs.id)
    .where("task.gold", "is", null)
    .where("labeler", "=", (labelers[3] as User).id)
    .where("repeat", "=", 0)
    .orderBy("at")
    .executeTakeFirstOrThrow();
  await past.close();

  const now = await LabelStore.open(path);
  const session = async ({ id }: User) => (await openSession(now, id)).token;
  const result = {
    owner: await session(owner),
    labeler: await session(labeler),
    pairs: pairs.id,
    ranking: ranking.id,
    rating: rating.id,
    writing: writing.id,
    done: done.id,
    disputed: judgement.task,
    links: {
      claim: (await createInvitation(now, owner.id, "labeler", pairs.id)).token,
      reset: (await createPasswordReset(now, owner.id, labeler.id)).token,
    },
  };
  await now.close();
  return result;
}
