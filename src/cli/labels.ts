import { Command, Option } from "commander";
import { InputError } from "../data/errors.ts";
import { backUp, restore } from "../labels/backup.ts";
import { readRatings } from "../labels/ratings.ts";
import { type Verification, verify } from "../labels/verify.ts";
import { type Agreement, measureAgreement, type Scale, scales } from "../statistics/agreement.ts";
import type { Estimate } from "../statistics/estimate.ts";
import { labelerAccuracy } from "../statistics/reliability.ts";
import { exportCommand, importCommand } from "./label-files.ts";
import { storeOption } from "./options.ts";
import { withStore } from "./store.ts";
import { formatNumber, formatTable, print } from "./terminal.ts";

/** Options of commands on a label store. */
interface StoreOptions {
  store: string;
  json?: boolean;
}

export function define(group: Command): Command {
  for (const make of [
    importCommand,
    exportCommand,
    agreementCommand,
    verifyCommand,
    backupCommand,
    restoreCommand,
  ])
    group.addCommand(make());
  return group;
}

const agreementCommand = () =>
  new Command("agreement")

    .description("Compute the agreement of labelers from a table of their labels")
    .argument("<file>", "CSV with the columns item, labeler, label; or JSON lines of these fields")
    .addOption(
      new Option("--scale <scale>", "measurement scale of the labels").choices(scales).default("nominal"),
    )
    .option("--json", "print the result as JSON")
    .action(async (file: string, { scale, json }: { scale: Scale; json?: boolean }) => {
      const ratings = readRatings(file, scale);
      const agreement = measureAgreement(ratings, scale);
      const accuracy = scale === "nominal" ? labelerAccuracy(ratings) : undefined;
      print(
        json ? JSON.stringify({ ...agreement, accuracy }) : describeAgreement(agreement, scale, accuracy),
      );
    });

const verifyCommand = () =>
  new Command("verify")

    .description("Rebuild all tables from the log, and report differences")
    .option(...storeOption)
    .option("--json", "print the differences as JSON")
    .action(async (options: StoreOptions) => {
      await withStore(options.store, async (store) => {
        const report = await verify(store);
        if (options.json) print(JSON.stringify(report));
        else {
          print(
            `${report.events} events; rows that follow from them: ${Object.entries(report.rows)
              .map(([table, count]) => `${table} ${count}`)
              .join(", ")}`,
          );
          if (report.last) print(`last event: ${describeEvent(report.last)}`);
          for (const problem of report.problems) print(`  ${problem}`);
          const more = report.problemCount - report.problems.length;
          if (more) print(`  … and ${more} more`);
        }
        if (report.problemCount)
          throw new InputError(
            `${options.store}: ${report.problemCount} problems: the store was changed behind its log`,
          );
      });
    });

const describeEvent = ({ seq, at, hash }: NonNullable<Verification["last"]>): string =>
  `${seq}, ${new Date(at).toISOString()}, SHA-256 ${hash}`;

/** Prints what a copy of a store has. */
function printCopy(path: string, { events, last }: Verification): void {
  print(`${path}: ${events} events`);
  if (last) print(`last event: ${describeEvent(last)}`);
}

const backupCommand = () =>
  new Command("backup")
    .description("Copy a label store to a file, also while a server writes to it, and verify the copy")
    .argument("<out>", "file to write; it must not exist")
    .option(...storeOption)
    .option("--json", "print the last event as JSON")
    .action(async (out: string, { store: from, json }: StoreOptions) => {
      const report = await backUp(from, out);
      if (json) print(JSON.stringify({ events: report.events, last: report.last }));
      else printCopy(out, report);
    });

const restoreCommand = () =>
  new Command("restore")
    .description("Make a label store from a backup, after verifying it")
    .argument("<backup>", "file that `labels backup` wrote")
    .option(...storeOption)
    .action(async (backup: string, { store: to }: StoreOptions) => {
      printCopy(to, await restore(backup, to));
    });

/** Most entries of a list that are shown. */
const maxListed = 10;

/** Describes the agreement of labelers as text. */
function describeAgreement(
  agreement: Agreement,
  scale: Scale,
  accuracy: Record<string, number | null> | undefined,
): string {
  const show = ({ value, reason }: Estimate) =>
    value
      ? `${formatNumber(value.value)}  [${formatNumber(value.low)}, ${formatNumber(value.high)}]`
      : `none: ${reason}`;
  const { items, rated, labelers, ratings, observed, pairs, worst, alert } = agreement;
  const more = (all: readonly unknown[]) =>
    all.length > maxListed ? [`… and ${all.length - maxListed} more`] : [];
  return [
    `${items} items, ${rated} of them rated twice or more; ${labelers} labelers, ${ratings} ratings`,
    "",
    `Krippendorff's α  ${show(agreement.alpha)}   (95 % intervals)`,
    `Fleiss' κ         ${show(agreement.fleiss)}`,
    ...(observed === undefined
      ? []
      : [`equal labels      ${formatNumber(observed)} of all pairs of ratings of an item`]),
    ...(alert === undefined ? [] : ["", `! ${alert}`]),
    ...(pairs.length === 0
      ? []
      : [
          "",
          formatTable([
            ["labelers", scale === "nominal" ? "Cohen's κ" : "weighted κ", "equal", "items"],
            ...pairs
              .slice(0, maxListed)
              .map(({ a, b, kappa, observed, items }) => [
                `${a}, ${b}`,
                kappa === undefined ? "none" : formatNumber(kappa),
                formatNumber(observed),
                String(items),
              ]),
          ]),
          ...more(pairs),
        ]),
    ...(accuracy === undefined
      ? []
      : [
          "",
          formatTable([
            ["labeler", "accuracy"],
            ...Object.entries(accuracy)
              .sort((a, b) => (a[1] ?? 2) - (b[1] ?? 2))
              .map(([name, value]) => [
                name,
                value === null ? "not known: nobody else rated the same items" : formatNumber(value),
              ]),
          ]),
          "(how likely each gives an item its most probable label; Dawid and Skene 1979)",
        ]),
    ...(worst.length === 0
      ? []
      : [
          "",
          "most disagreed about:",
          ...worst.slice(0, maxListed).map(({ item, labels }) => `  ${item}  ${labels.join(", ")}`),
          ...more(worst),
        ]),
  ].join("\n");
}
