#!/usr/bin/env node
// What opening JupyterLab costs through a proxy: bytes over the wire, requests that reach the user's server, and
// seconds until a notebook is usable, with an empty and with a filled cache of the browser.
//
//   node benches/page_load.mjs                                  chp and lyceum, 3 rounds in which they take turns
//   node benches/page_load.mjs --only lyceum --rounds 5
//   node benches/page_load.mjs --only demo                      `lyceum demo`, with what it prepares by itself
//   node benches/page_load.mjs --only url --url https://hub.example.org --user ada --password …
//
// Needs: npm ci in e2e/, Chromium, a Python environment with jupyterhub and jupyterlab (--environment). Prints a table
// and writes all figures to target/benches/page_load.json. With --check, it fails if Lyceum misses a goal.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { startHub, versions } from "./page_load/hubs.mjs";
import { visit } from "./page_load/visit.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");

/** Goals: the largest figure allowed, or the largest part of what `chp` needs in the same run. */
const GOALS = [
  { cache: "cold", network: "local", field: "megabytes", most: 1.25 },
  { cache: "cold", network: "local", field: "reached", most: 45 },
  { cache: "cold", network: "10mbit", field: "megabytes", most: 1.25 },
  { cache: "cold", network: "10mbit", field: "reached", most: 45 },
  { cache: "cold", network: "10mbit", field: "usable", part: 2 / 3 },
  { cache: "warm", network: "local", field: "megabytes", most: 0.1 },
  { cache: "warm", network: "10mbit", field: "megabytes", most: 0.1 },
];

const WORDS = { megabytes: "MB received", reached: "requests that reach the server", usable: "seconds until usable" };

const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "chp,lyceum" },
    networks: { type: "string", default: "local,10mbit" },
    rounds: { type: "string", default: "3" },
    program: { type: "string", default: join(root, "target/release/lyceum") },
    environment: { type: "string", default: process.env.LYCEUM_TEST_PYENV },
    jupyterhub: { type: "string" },
    proxy: { type: "string", default: join(root, "e2e/node_modules/.bin/configurable-http-proxy") },
    config: { type: "string" },
    url: { type: "string" },
    user: { type: "string" },
    password: { type: "string" },
    count: { type: "string" },
    check: { type: "boolean", default: false },
  },
});
const variants = options.url && options.only === "chp,lyceum" ? ["url"] : options.only.split(",");
if (!options.environment && variants.some((name) => ["chp", "lyceum"].includes(name))) {
  console.error("error: --environment must name a Python environment with jupyterhub and jupyterlab");
  process.exit(2);
}
options.jupyterhub ??= join(options.environment ?? "", "bin/jupyterhub");

const figures = [];
const hubs = new Map();
const profiles = await mkdtemp(join(tmpdir(), "page-load-"));
try {
  for (const name of variants) hubs.set(name, await startHub(name, options));
  // The first visit of all starts the server and fills the machine's caches; it does not count.
  for (const [name, hub] of hubs) {
    console.error(`warming up: ${name}`);
    await visit(hub, join(profiles, `warm-up-${name}`), "local");
  }
  for (let round = 1; round <= Number(options.rounds); round += 1) {
    for (const network of options.networks.split(",")) {
      for (const [name, hub] of hubs) {
        const folder = join(profiles, `${round}-${network}-${name}`);
        for (const cache of ["cold", "warm"]) {
          const figure = { variant: name, round, network, cache, ...(await visit(hub, folder, network)) };
          figures.push(figure);
          const { megabytes, requests, reached, usable } = figure;
          const line = `${megabytes.toFixed(2)} MB, ${requests} requests, ${reached ?? "?"} reach the server, ${usable.toFixed(1)} s`;
          console.error(`round ${round}: ${name}, ${network}, ${cache}: ${line}`);
        }
        await rm(folder, { recursive: true, force: true });
      }
    }
  }
} finally {
  for (const hub of hubs.values()) await hub.end();
  await rm(profiles, { recursive: true, force: true });
}

const file = join(root, "target/benches/page_load.json");
await mkdir(dirname(file), { recursive: true });
await writeFile(file, JSON.stringify(figures, null, 1));
await report();
console.log(`\nall figures: ${file}`);

async function report() {
  if (options.environment) console.log(`${await versions(options.environment)}; ${options.rounds} rounds, medians [min–max]\n`);
  for (const cache of ["cold", "warm"]) {
    console.log(`| ${cache} | requests / from cache | reach the server (at launcher) | MB | launcher s | usable s | CPU ms: hub and proxy, server |`);
    console.log("|---|---|---|---|---|---|---|");
    for (const network of options.networks.split(",")) {
      for (const variant of variants) {
        const of = (field, digits) => shown(values(variant, cache, network, field), digits);
        const cpu = (field) => shown(values(variant, cache, network, field).map((value) => value && value * 1000), 0);
        const cells = [
          `${variant}, ${network}`,
          `${of("requests", 0)} / ${of("cached", 0)}`,
          `${of("reached", 0)} (${of("reachedAtLauncher", 0)})`,
          of("megabytes", 2),
          of("launcher", 1),
          of("usable", 1),
          `${cpu("ownSeconds")}, ${cpu("serverSeconds")}`,
        ];
        console.log(`| ${cells.join(" | ")} |`);
      }
    }
    console.log();
  }
  const missed = goals();
  if (options.check && missed > 0) process.exitCode = 1;
}

/** Prints each goal beside what was reached; gives the number of those that were missed. */
function goals() {
  let missed = 0;
  const lines = [];
  for (const variant of variants.filter((name) => name !== "chp")) {
    for (const { cache, network, field, most, part } of GOALS) {
      const value = median(values(variant, cache, network, field));
      const limit = most ?? part * median(values("chp", cache, network, field));
      if (!(value >= 0) || !(limit > 0)) continue;
      if (value > limit) missed += 1;
      const what = `${variant}, ${cache}, ${network}: ${WORDS[field]}`;
      lines.push(`| ${what} | ${value.toFixed(2)} | ≤ ${limit.toFixed(2)} | ${value > limit ? "**missed**" : "reached"} |`);
    }
  }
  if (lines.length > 0) console.log(`| what | median | goal | |\n|---|---|---|---|\n${lines.join("\n")}`);
  return missed;
}

function values(variant, cache, network, field) {
  const fitting = figures.filter((one) => one.variant === variant && one.cache === cache && one.network === network);
  return fitting.map((one) => one[field]);
}

function median(all) {
  const sorted = all.filter((value) => value !== undefined).sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

function shown(all, digits) {
  const known = all.filter((value) => value !== undefined);
  if (known.length === 0) return "–";
  const text = (value) => value.toFixed(digits);
  if (text(Math.min(...known)) === text(Math.max(...known))) return text(known[0]);
  return `${text(median(known))} [${text(Math.min(...known))}–${text(Math.max(...known))}]`;
}
