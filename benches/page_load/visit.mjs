// One visit of a person who opens JupyterLab and a notebook: how long it takes, and what goes over the wire.

import { randomBytes } from "node:crypto";

import { startProfile } from "../../e2e/lib/browser.mjs";
import { until } from "../../e2e/lib/wait.mjs";

const LIMIT = 120_000;

/** The networks, as Chromium's emulation wants them: bytes in a second, and milliseconds for each request. */
const NETWORKS = {
  local: undefined,
  "10mbit": { offline: false, latency: 40, downloadThroughput: 10e6 / 8, uploadThroughput: 10e6 / 8 },
};

/**
 * Opens JupyterLab with the browser's profile in `folder`, in a workspace of its own, and a notebook by its card.
 *
 * Gives seconds until the launcher is there and until the kernel is idle, and what was received until then. Login
 * and the start of the server come before, and past the browser's cache.
 */
export async function visit(hub, folder, network) {
  const context = await startProfile(folder);
  try {
    context.setDefaultTimeout(LIMIT);
    await enter(hub, context);
    const page = context.pages()[0] ?? (await context.newPage());
    const wire = await Wire.watch(context, page, NETWORKS[network]);
    const before = { reached: await hub.reached(), time: await hub.processorTime() };

    const begun = performance.now();
    const workspace = `bench-${randomBytes(4).toString("hex")}`;
    await page.goto(`${hub.url}/user/${hub.user}/lab/workspaces/${workspace}`, { waitUntil: "commit" });
    const card = page.locator('.jp-LauncherCard[data-category="Notebook"]:visible').first();
    await card.waitFor();
    await page.locator("#jupyterlab-splash").waitFor({ state: "detached" });
    const launcher = (performance.now() - begun) / 1000;
    const atLauncher = await hub.reached();
    await card.click();
    await page.locator("#jp-main-statusbar").getByText("| Idle").waitFor();
    const usable = (performance.now() - begun) / 1000;

    const received = wire.sum();
    const after = { reached: await hub.reached(), time: await hub.processorTime() };
    await leave(hub, context);
    return {
      launcher,
      usable,
      ...received,
      reached: difference(after.reached?.length, before.reached?.length),
      reachedAtLauncher: difference(atLauncher?.length, before.reached?.length),
      reachedRequests: after.reached?.slice(before.reached?.length ?? 0),
      ownSeconds: difference(after.time?.own, before.time?.own),
      serverSeconds: difference(after.time?.server, before.time?.server),
    };
  } finally {
    await context.close();
  }
}

function difference(after, before) {
  return after === undefined ? undefined : after - (before ?? 0);
}

/** Counts what the browser receives for a page, by what the browser itself says. */
class Wire {
  #requests = new Map();
  #frames = 0;

  static async watch(context, page, network) {
    const wire = new Wire();
    const session = await context.newCDPSession(page);
    session.on("Network.requestWillBeSent", (event) => {
      // A redirect is the end of one request and the begin of the next, under the same id.
      if (event.redirectResponse) {
        const { encodedDataLength: bytes, url } = event.redirectResponse;
        wire.#requests.set(`${event.requestId} ${url}`, { url, bytes, cached: false });
      }
      if (/^https?:/.test(event.request.url)) {
        wire.#requests.set(event.requestId, { url: event.request.url, bytes: 0, cached: false });
      }
    });
    session.on("Network.requestServedFromCache", (event) => {
      const request = wire.#requests.get(event.requestId);
      if (request) request.cached = true;
    });
    session.on("Network.responseReceived", (event) => {
      const request = wire.#requests.get(event.requestId);
      if (request && (event.response.fromDiskCache || event.response.fromPrefetchCache)) request.cached = true;
      // Until it is complete, this much of it: its head.
      if (request) request.bytes = Math.max(request.bytes, event.response.encodedDataLength);
    });
    session.on("Network.dataReceived", (event) => {
      const request = wire.#requests.get(event.requestId);
      if (request) request.bytes += event.encodedDataLength;
    });
    session.on("Network.loadingFinished", (event) => {
      const request = wire.#requests.get(event.requestId);
      if (request) request.bytes = event.encodedDataLength;
    });
    session.on("Network.webSocketFrameReceived", (event) => {
      wire.#frames += event.response.payloadData.length;
    });
    await session.send("Network.enable", { maxTotalBufferSize: 1, maxResourceBufferSize: 1 });
    if (network) await session.send("Network.emulateNetworkConditions", network);
    return wire;
  }

  /** Requests that went out and that the cache answered, and what was received, in megabytes. */
  sum() {
    const all = [...this.#requests.values()];
    const sent = all.filter(({ cached }) => !cached);
    const bytes = sent.reduce((sum, request) => sum + request.bytes, 0);
    const largest = sent
      .toSorted((a, b) => b.bytes - a.bytes)
      .slice(0, 12)
      .map(({ url, bytes }) => `${bytes} ${new URL(url).pathname}`);
    return { requests: sent.length, cached: all.length - sent.length, megabytes: bytes / 1e6, frames: this.#frames, largest };
  }
}

/** Logs in, and sees to it that the server runs and knows the visitor: by requests that leave no page in the cache. */
async function enter(hub, context) {
  const ask = context.request;
  const login = `${hub.url}/hub/login?next=%2Fhub%2Fhome`;
  const page = await (await ask.get(login)).text();
  // Who is known already is sent on to a page without this field.
  if (/name="username"/.test(page)) {
    const form = { _xsrf: hidden(page), next: "/hub/home", username: hub.user, password: hub.password };
    const answer = await ask.post(login, { form, headers: { origin: hub.url } });
    if (!answer.ok() || answer.url().includes("/hub/login")) throw new Error(`the login answered ${answer.status()}`);
  }
  const answers = async () => (await ask.get(`${hub.url}/user/${hub.user}/api`, { maxRedirects: 0 })).status() === 200;
  if (!(await answers())) {
    const home = await (await ask.get(`${hub.url}/hub/home`)).text();
    const token = hidden(home);
    // JupyterHub starts by visiting the page, Lyceum by a form.
    if (token) await ask.post(`${hub.url}/hub/spawn/${hub.user}`, { form: { _xsrf: token }, headers: { origin: hub.url } });
    else await ask.get(`${hub.url}/hub/spawn/${hub.user}`);
    await until("the server answers", answers, LIMIT, 100);
  }
  // The first page below /user/ logs in there.
  await until(
    "the server knows the visitor",
    async () => {
      await ask.get(`${hub.url}/user/${hub.user}/files/none`);
      return (await ask.get(`${hub.url}/user/${hub.user}/api/status`)).ok();
    },
    LIMIT,
  );
}

/** The token against forged requests in a page's form, if it has one. */
function hidden(page) {
  return /name="_xsrf" value="([^"]*)"/.exec(page)?.[1];
}

/** Ends the kernel and removes the notebook, so that the next visit finds what this one found. */
async function leave(hub, context) {
  const base = `${hub.url}/user/${hub.user}/`;
  const cookies = await context.cookies(base);
  const xsrf = cookies.filter(({ name }) => name === "_xsrf").find(({ path }) => path.startsWith("/user/"))?.value ?? "";
  const headers = { "X-XSRFToken": xsrf };
  for (const page of context.pages()) await page.goto("about:blank");
  const sessions = await (await context.request.get(`${base}api/sessions`)).json();
  for (const { id, path } of sessions) {
    await context.request.delete(`${base}api/sessions/${id}`, { headers });
    await context.request.delete(`${base}api/contents/${path}`, { headers });
  }
}
