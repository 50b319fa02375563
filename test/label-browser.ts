// Set-up of tests that use the label app in a browser: a server of a store, and Chromium.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";

const bin = fileURLToPath(new URL("../bin/plumbline.mjs", import.meta.url));

/** Path of Chromium; undefined if it is not installed, which tests are skipped for. */
export const browserPath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(
  existsSync,
);
if (!browserPath) console.log("label app in a browser: skipped, no chromium: install Debian's chromium");

export type LabelApp = Awaited<ReturnType<typeof startLabelApp>>;

/** Starts the server of a store, and a browser. @param store path */
export async function startLabelApp(store: string) {
  const server = spawn(process.execPath, [bin, "serve", "--store", store, "--port", "0", "--json"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const line = await new Promise<string>((resolve) => createInterface(server.stdout).once("line", resolve));
  const { address, link }: { address: string; link: string } = JSON.parse(line);
  const browser: Browser = await chromium.launch({
    executablePath: browserPath as string,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"],
  });
  /** Errors on pages, and requests to other hosts. */
  const problems: string[] = [];
  return {
    address,
    /** Link for the first owner. */
    link,
    problems,
    /** Opens a page in a browser context of its own. */
    async open(options: Parameters<Browser["newContext"]>[0] = {}): Promise<[BrowserContext, Page]> {
      const context = await browser.newContext(options);
      const page = await context.newPage();
      page.on("pageerror", (error) => problems.push(String(error)));
      page.on("console", (message) => {
        if (message.type() === "error" && !/status of 40[139]/.test(message.text()))
          problems.push(message.text());
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(address) && !/^(data|blob):/.test(request.url()))
          problems.push(request.url());
      });
      return [context, page];
    },
    async close(): Promise<void> {
      await browser.close();
      server.kill("SIGINT");
    },
  };
}

type AxeResults = Awaited<ReturnType<AxeBuilder["analyze"]>>;

/** Lists what axe finds on a page. */
export async function violations(page: Page): Promise<string[]> {
  const options: Parameters<AxeBuilder["options"]>[0] = { resultTypes: ["violations"], selectors: false };
  // Loading axe takes longer than most of its runs, and it stays in the page.
  const { violations } = (await page.evaluate("window.axe !== undefined"))
    ? await page.evaluate<AxeResults>(`axe.run(${JSON.stringify(options)})`)
    : await new AxeBuilder({ page }).setLegacyMode().options(options).analyze();
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
}

/**
 * Saves a picture of a page if the variable PLUMBLINE_SCREENSHOTS names a folder.
 * @param fullPage false for what is in sight; a picture of the full page is taken without a touch screen. Default: true
 */
export async function screenshot(page: Page, name: string, fullPage = true): Promise<void> {
  const folder = process.env.PLUMBLINE_SCREENSHOTS;
  if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage });
}
