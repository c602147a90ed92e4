// A real Chromium, the system's own, with nothing that reaches for the network.

import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { delimiter, join } from "node:path";

import { chromium } from "playwright-core";

import { results } from "./folders.mjs";

/** How long an action or an expectation may take: two processors may be busy with a compiler beside us. */
const ACTION_LIMIT = 30_000;

const FLAGS = [
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * Starts a browser; `Visitor`s share it without sharing cookies. `home` is its home folder, where it looks for
 * authorities to trust, `args` are added to its command line.
 */
export async function startBrowser({ home, args = [] } = {}) {
  const usual = options();
  const env = home ? { ...process.env, HOME: home } : process.env;
  return chromium.launch({ ...usual, env, args: [...usual.args, ...args] });
}

/** Starts a browser that keeps its cache in a folder, as a person's does; what it gives is closed to end it. */
export async function startProfile(folder) {
  return chromium.launchPersistentContext(folder, { ...options(), viewport: { width: 1280, height: 800 } });
}

function options() {
  return {
    executablePath: findChromium(),
    headless: true,
    // Chromium refuses its sandbox to root.
    chromiumSandbox: process.getuid() !== 0,
    args: FLAGS,
  };
}

function findChromium() {
  const named = process.env.LYCEUM_TEST_CHROMIUM;
  if (named) return named;
  const folders = (process.env.PATH ?? "").split(delimiter);
  for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
    const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
    if (found) return found;
  }
  throw new Error("no Chromium: apt install chromium, or name one in LYCEUM_TEST_CHROMIUM");
}

/** A person with a browser: own cookies, own windows. */
export class Visitor {
  /** What pages complained about: uncaught errors, and answers of the kind 5xx. */
  complaints = [];

  /** Comes to a hub with an empty profile. `hub` has `url`, `user` and `password`. */
  static async arrive(browser, hub, options = {}) {
    const visitor = new Visitor();
    visitor.hub = hub;
    visitor.user = options.user ?? hub.user;
    visitor.password = options.password ?? hub.password;
    visitor.context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      javaScriptEnabled: options.javaScriptEnabled ?? true,
      ignoreHTTPSErrors: options.ignoreHTTPSErrors ?? false,
    });
    visitor.context.setDefaultTimeout(ACTION_LIMIT);
    visitor.context.setDefaultNavigationTimeout(ACTION_LIMIT);
    visitor.context.on("page", (page) => visitor.watch(page));
    visitor.page = await visitor.context.newPage();
    return visitor;
  }

  watch(page) {
    page.on("pageerror", (error) => this.complaints.push(`${page.url()}: ${error.message}`));
    page.on("response", (response) => {
      if (response.status() >= 500) this.complaints.push(`${response.status()} ${response.url()}`);
    });
    // Leaving a notebook with unsaved changes asks; here the answer is always yes.
    page.on("dialog", (dialog) => dialog.accept().catch(() => {}));
  }

  /** Goes to a path of the hub's. */
  async goTo(path) {
    return this.page.goto(`${this.hub.url}${path}`);
  }

  /** Whether the browser holds no cookie of the hub that lets it in. */
  async cookieNames() {
    const cookies = await this.context.cookies();
    return cookies.map((cookie) => cookie.name).sort();
  }

  /** Keeps a picture and the source of each open page. */
  async keepPictures(name) {
    await mkdir(results, { recursive: true });
    for (const [index, page] of this.context.pages().entries()) {
      const base = join(results, `${name}-${this.user}-${index + 1}`);
      await page.screenshot({ path: `${base}.png` }).catch(() => {});
      await page
        .content()
        .then((text) => writeFile(`${base}.html`, `<!-- ${page.url()} -->\n${text}`))
        .catch(() => {});
    }
  }

  async leave() {
    await this.context.close();
  }
}
