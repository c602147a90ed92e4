// The culler with a real JupyterLab: what is idle goes, what computes stays, a forgotten tab goes, and people are told.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { program } from "./lib/folders.mjs";
import { api, logIn, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell } from "./lib/lab.mjs";
import { atOnce, scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

const cull = (rest) => ({ hub: "redirect_to_server = true", rest: `[cull]\n${rest}` });

/** Whether the visitor's server runs, as the API says. */
async function runs(visitor) {
  const answer = await api(visitor, `/users/${visitor.user}`);
  return Boolean((await answer.json()).server);
}

async function commands(hub, ...words) {
  const { stdout } = await promisify(execFile)(program, ["cull", ...words, "--config", hub.config], { timeout: 60_000 });
  return stdout;
}

/** What `lyceum cull list` says of a user's server. */
async function listed(hub, user) {
  const { servers } = JSON.parse(await commands(hub, "list", "--json"));
  return servers.find((server) => server.user === user);
}

async function expectStopped(visitor, limit = 90_000) {
  await until(`the server of ${visitor.user} has stopped`, async () => !(await runs(visitor)), limit, 500);
}

// They wait for limits of time nearly all the while, and each has a hub of its own.
atOnce("the culler", 3, () => {
  for (const version of ["6.1", "5.4", "4.1"]) {
    scenario(`the warning appears in JupyterLab of JupyterHub ${version}, and keeps the server`, async ({ step, serve, visitor }) => {
      const hub = await serve({
        environment: environmentOfVersion(version),
        more: cull('idle = "40s"\nwarn = "20s"\nopen_tab = "5s"\n'),
      });
      const ada = await visitor(hub);
      await step("log in", () => logIn(ada));
      await step("JupyterLab opens", () => waitForLab(ada));
      const notice = ada.page.locator("#lyceum-notice");
      await step("the warning appears", () => notice.waitFor({ timeout: 90_000 }));
      assert.match(await notice.innerText(), /stopped in 1 min, because nobody has used it/);
      await step("keep running", async () => {
        await notice.getByRole("button", { name: "Keep running" }).click();
        await notice.waitFor({ state: "detached", timeout: 10_000 });
      });
      const { used_by: usedBy } = await listed(hub, "ada");
      assert.match(usedBy, /action|open-tab/);
      await step("it runs on beyond the first limit", async () => {
        await new Promise((resolve) => setTimeout(resolve, 22_000));
        assert.ok(await runs(ada));
      });
      await step("the forgotten tab warns again, and goes", () => expectStopped(ada));
      assert.match(hub.output, /culled the server ada\/: idle, unused for \d+ seconds/);
    });
  }

  scenario("a kernel that computes keeps its server, an idle one goes", async ({ step, serve, visitor }) => {
    const hub = await serve({
      environment: environmentOfVersion("6.1"),
      more: cull('idle = "30s"\nwarn = "5s"\nopen_tab = "5s"\n'),
    });
    const ada = await visitor(hub);
    const bob = await visitor(hub, { user: "bob" });
    await step("ada computes for longer than the limit", async () => {
      await logIn(ada);
      await waitForLab(ada);
      await openNotebook(ada);
      await runCell(ada, "1 + 1");
      const cell = ada.page.locator(".jp-NotebookPanel .jp-CodeCell").last();
      await cell.locator(".cm-content").click();
      await ada.page.keyboard.insertText("import time; time.sleep(600)");
      await ada.page.keyboard.press("Shift+Enter");
    });
    await step("bob does nothing, and has closed his page", async () => {
      await logIn(bob);
      await waitForLab(bob);
      await bob.page.goto("about:blank");
    });
    await step("bob's goes", () => expectStopped(bob));
    await step("ada's stays, and the list says why", async () => {
      await until("the kernel is what keeps it", async () => (await listed(hub, "ada"))?.used_by === "busy-kernel", 60_000, 1000);
      await new Promise((resolve) => setTimeout(resolve, 20_000));
      assert.ok(await runs(ada));
      assert.match(await commands(hub, "--dry-run"), /last a kernel was computing\n {2}goes in .*: `cull\.idle` is 30s/);
      assert.equal(await ada.page.locator("#lyceum-notice").count(), 0);
    });
    await step("what is stopped by hand", async () => {
      assert.match(await commands(hub, "now", "--user", "nobody"), /no server was stopped/);
      assert.match(await commands(hub, "now", "--idle", "0s", "--user", "ada"), /stopped ada\//);
      assert.equal(await runs(ada), false);
    });
  });

  scenario("the home page warns, and the warning speaks the visitor's language", async ({ step, serve, visitor }) => {
    const hub = await serve({
      environment: environmentOfVersion("6.1"),
      more: cull('idle = "60s"\nwarn = "50s"\nopen_tab = "5s"\n'),
    });
    const ada = await visitor(hub);
    const { page } = ada;
    await logIn(ada);
    await waitForLab(ada);
    await step("Czech", async () => {
      await ada.goTo("/hub/language/cs");
      await page.goto(`${hub.url}/user/ada/lab`);
      await page.locator("#lyceum-notice").getByText("Nechat běžet").waitFor({ timeout: 90_000 });
    });
    await step("on the home page", async () => {
      await ada.goTo("/hub/home");
      await page.getByText("Tento server nikdo nepoužívá").waitFor();
      await page.getByRole("button", { name: "Nechat běžet" }).click();
      await page.waitForURL(/\/hub\/home/);
      await until(
        "the warning is gone",
        async () => {
          await ada.goTo("/hub/home");
          return (await page.getByText("Tento server nikdo nepoužívá").count()) === 0;
        },
        10_000,
      );
    });
  });
});
