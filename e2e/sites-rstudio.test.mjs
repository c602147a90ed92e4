// What RStudio asks of a proxy, tried with an application that behaves alike: see apps/rstudio.mjs.

import assert from "node:assert/strict";
import { request } from "node:http";
import { open } from "node:fs/promises";
import { join } from "node:path";

import { startRStudio } from "./apps/rstudio.mjs";
import { newFolder } from "./lib/folders.mjs";
import { scenario } from "./lib/scenario.mjs";
import { isLyceum } from "./lib/sites.mjs";
import { within } from "./lib/wait.mjs";

/** A long poll lasts as long; no proxy may take that for a server that hangs. */
const POLL_SECONDS = 55;

for (const stubborn of [false, true]) {
  const which = stubborn ? "an RStudio that believes no header" : "RStudio";
  scenario(`${which} works below a path`, async ({ step, app, sites, visitor }) => {
    const studio = await app(startRStudio({ stubborn }));
    const front = await sites([
      { name: "rstudio", prefix: "/r/", url: studio.url, kind: "rstudio", access: "public", maxBody: "50 MB" },
    ]);
    const ada = await visitor(front);
    const { page } = ada;

    await step("the path without its slash leads to the one with it", async () => {
      const answer = await fetch(`${front.url}/r`, { redirect: "manual" });
      assert.ok([301, 302, 307, 308].includes(answer.status), String(answer.status));
      assert.equal(new URL(answer.headers.get("location"), front.url).href, `${front.url}/r/`);
    });
    await step("its login is below the path", async () => {
      await ada.goTo("/r");
      await page.getByRole("heading", { name: "Sign in to R" }).waitFor();
      assert.equal(page.url(), `${front.url}/r/auth-sign-in`);
      await page.getByLabel("Username").fill("ada");
      await page.getByRole("button", { name: "Sign In" }).click();
      await page.getByRole("heading", { name: "R", exact: true }).waitFor();
      assert.equal(page.url(), `${front.url}/r/`);
    });
    await step("its cookies are for its path only", async () => {
      const all = await ada.context.cookies();
      for (const name of ["user-id", "csrf-token"]) {
        assert.match(all.find((cookie) => cookie.name === name).path, /^\/r\/?$/);
      }
    });
    await step("its WebSocket is open", () => page.getByText("R: 1 + 1").waitFor());
    if (!stubborn) {
      await step("it is told where it is", () => {
        const { headers } = studio.seen.findLast(({ url }) => url === "/");
        assert.match(headers["x-rstudio-root-path"], /^\/r$/);
        if (headers["x-forwarded-proto"]) assert.equal(headers["x-forwarded-proto"], "http");
      });
    }

    // While the poll lasts, everything else goes on.
    const begun = Date.now();
    const poll = stubborn ? undefined : page.evaluate((seconds) => globalThis.poll(seconds), POLL_SECONDS);
    // Where another step fails first, nobody waits for it.
    poll?.catch(() => {});
    await step("50 MB go up, and arrive as they were", async () => {
      const { sha256, status, answer } = await page.evaluate(() => globalThis.upload(50));
      assert.equal(status, 200, answer);
      assert.deepEqual(JSON.parse(answer), { bytes: 50_000_000, sha256 });
    });
    await step("51 MB are refused, with a page for people", async () => {
      const file = join(await newFolder("upload"), "data.bin");
      const handle = await open(file, "w");
      await handle.truncate(53_500_000);
      await handle.close();
      const form = await ada.context.newPage();
      await form.goto(`${front.url}/r/`);
      await form.locator("input[type=file]").setInputFiles(file);
      const answered = form.waitForResponse((answer) => answer.url().endsWith("/r/upload"));
      await form.getByRole("button", { name: "Upload" }).click({ noWaitAfter: true });
      assert.equal((await answered).status(), 413);
      await form.getByRole("heading", { level: 1 }).waitFor();
      if (isLyceum) assert.match(await form.locator("body").innerText(), /too (big|large)/i);
      await form.close();
      assert.equal(studio.seen.filter(({ url }) => url === "/upload").length, 1, "nothing of it reaches the application");
    });
    await step("so are 51 MB whose length nobody announced", async () => {
      const cookie = (await ada.context.cookies(`${front.url}/r/`)).map(({ name, value }) => `${name}=${value}`);
      assert.equal(await sendUnannounced(`${front.url}/r/upload`, cookie.join("; "), 53_500_000), 413);
    });
    if (poll) {
      await step(`a long poll of ${POLL_SECONDS} s is answered`, async () => {
        const answer = await within("the long poll", poll, (POLL_SECONDS + 20) * 1000);
        assert.deepEqual(answer, { status: 200, body: '{"result":[]}' });
        assert.ok(Date.now() - begun >= POLL_SECONDS * 1000);
      });
      await step("its WebSocket is still open", async () => {
        const state = await page.evaluate("socket.readyState");
        assert.equal(state, 1);
      });
    }
    await step("it logs out below the path, too", async () => {
      await page.getByRole("link", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in to R" }).waitFor();
      assert.equal(page.url(), `${front.url}/r/auth-sign-in`);
      assert.ok(!(await ada.cookieNames()).includes("user-id"));
    });
    assert.deepEqual(ada.complaints, []);
  });
}

/** Sends zeros in chunks until there is an answer; gives its status. */
function sendUnannounced(url, cookie, bytes) {
  return new Promise((resolve, reject) => {
    const sending = request(url, { method: "POST", headers: { Cookie: cookie, "Transfer-Encoding": "chunked" }, timeout: 60_000 });
    let [left, answered] = [bytes, false];
    const part = Buffer.alloc(65_536);
    sending.on("response", (answer) => {
      answered = true;
      answer.resume();
      resolve(answer.statusCode);
      sending.destroy();
    });
    sending.on("timeout", () => sending.destroy(new Error("no answer")));
    sending.on("error", (error) => answered || reject(error));
    const more = () => {
      while (left > 0 && !answered) {
        left -= part.length;
        if (!sending.write(part)) return void sending.once("drain", more);
      }
      if (!answered) sending.end();
    };
    more();
  });
}
