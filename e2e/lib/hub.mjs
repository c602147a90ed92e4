// The hub's pages as a person uses them: found by what is written on them, not by how they are built.

import assert from "node:assert/strict";

import { within } from "./wait.mjs";

/** A single-user server needs a few seconds, the first one after an installation some more. */
const START_LIMIT = 120_000;

/** Logs in on the login page that is open, or that the hub's front leads to. */
export async function logIn(visitor) {
  const { page } = visitor;
  if (!page.url().includes("/hub/login")) await visitor.goTo("/");
  await page.waitForURL(/\/hub\/login/);
  await page.locator("input[name=username]").fill(visitor.user);
  await page.locator("input[name=password]").fill(visitor.password);
  await Promise.all([
    page.waitForURL((url) => !url.pathname.endsWith("/hub/login") || url.searchParams.has("error")),
    page.getByRole("button", { name: /^(log|sign) in$/i }).click(),
  ]);
}

/** Waits until JupyterLab is open, from whatever page leads there by itself. */
export async function waitForLab(visitor) {
  const path = new RegExp(`/user/${visitor.user}/(lab|tree|doc)`);
  await visitor.page.waitForURL(path, { timeout: START_LIMIT, waitUntil: "commit" });
  await visitor.page.locator("#jp-main-dock-panel").waitFor({ timeout: START_LIMIT });
  await visitor.page.locator("#jupyterlab-splash").waitFor({ state: "detached" });
}

/** Starts the server from the home page. */
export async function startFromHome(visitor) {
  await visitor.goTo("/hub/home");
  await startControl(visitor.page).click();
}

/** Stops the server from the home page, and waits until the page says so. */
export async function stopFromHome(visitor) {
  await visitor.goTo("/hub/home");
  const stop = visitor.page.locator("button, a").filter({ hasText: /^\s*stop(\s+my\s+server)?\s*$/i });
  await stop.first().click();
  await startControl(visitor.page).waitFor({ timeout: 60_000 });
}

/** The button that starts the server; there only when none runs. */
function startControl(page) {
  return page.locator("button, a").filter({ hasText: /^\s*start(\s+again|\s+my\s+server)?\s*$/i }).first();
}

/** Logs out on a page of the hub. */
export async function logOut(visitor) {
  await visitor.goTo("/hub/home");
  await visitor.page.locator("button, a").filter({ hasText: /^\s*log ?out\s*$/i }).first().click();
  await expectLoggedOut(visitor);
}

/** What is seen after having logged out, on whatever way: the hub asks again who one is. */
export async function expectLoggedOut(visitor) {
  await visitor.page.waitForURL(/\/hub\/(login|logout)/);
  await visitor.goTo("/hub/home");
  await visitor.page.waitForURL(/\/hub\/login/);
}

/** Opens a path and checks that the hub refuses it, with a page for people. */
export async function expectForbidden(visitor, path) {
  // The single-user server asks the hub first, which takes some redirects; the last answer counts.
  const answer = await visitor.goTo(path);
  assert.equal(answer.status(), 403, `${path} ended at ${visitor.page.url()}`);
  await visitor.page.getByRole("heading", { level: 1 }).first().waitFor();
}

/** Asks the hub's API with the browser's own cookies. */
export async function api(visitor, path) {
  const call = visitor.context.request.get(`${visitor.hub.url}/hub/api${path}`, {
    headers: { Referer: `${visitor.hub.url}/hub/home` },
  });
  return within(`GET ${path}`, call, 30_000);
}
