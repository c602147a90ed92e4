// A real JupyterHub that has `lyceum proxy` where it would have configurable-http-proxy.

import assert from "node:assert/strict";

import { program } from "./lib/folders.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell, waitForIdle } from "./lib/lab.mjs";
import { listProcesses } from "./lib/processes.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { freePort } from "./lib/ports.mjs";
import { until } from "./lib/wait.mjs";

/** The proxy that a hub has started. */
async function proxyOf(hub) {
  const all = await listProcesses();
  return all.find(({ command }) => command.startsWith(`${program} proxy`) && command.includes(`--port ${hub.port} `));
}

/** Tells whether a user's server runs, as the hub sees it. */
async function runs(hub, user) {
  const model = await hub.api(`/users/${user}`);
  return model.server !== null;
}

/** Opens the page anew once its route is back: it may have met a proxy without routes, and asks what to do. */
async function comeBack(hub, visitor) {
  await until(
    "the routes are back",
    async () => `/user/${visitor.user}/` in (await hub.api("/proxy")) && (await fetch(`${hub.url}/hub/health`)).ok,
  );
  await visitor.page.reload();
  await waitForLab(visitor);
  await waitForIdle(visitor);
}

scenario("JupyterHub starts lyceum proxy, and again when it is killed", async ({ step, jupyterhub, visitor }) => {
  const hub = await jupyterhub(
    environmentOfVersion("6.1"),
    `
c.ConfigurableHTTPProxy.command = ["${program}", "proxy"]
c.ConfigurableHTTPProxy.check_running_interval = 1
c.JupyterHub.last_activity_interval = 2
`,
  );
  await step("start", () => hub.run());
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await runCell(ada, "x = 6 * 7; print(x)"), "42");

  await step("kill -9 of the proxy", async () => {
    const { pid } = await proxyOf(hub);
    process.kill(pid, "SIGKILL");
    await until("the hub has started another", async () => {
      const other = await proxyOf(hub);
      return other && other.pid !== pid;
    });
  });
  await step("the kernel is still there", async () => {
    await comeBack(hub, ada);
    assert.equal(await runCell(ada, "print(x + 1)"), "43");
  });

  await step("the hub starts again, and another proxy with it", async () => {
    const { pid } = await proxyOf(hub);
    await hub.stop();
    await until("the proxy has ended with the hub", async () => !(await proxyOf(hub)));
    await hub.run();
    assert.notEqual((await proxyOf(hub)).pid, pid);
    await comeBack(hub, ada);
    assert.equal(await runCell(ada, "print(x + 2)"), "44");
  });

  await step("errors have the hub's pages", async () => {
    const answer = await fetch(`${hub.url}/user/ada-has-none/lab`, { headers: { accept: "text/html" } });
    assert.ok(answer.url.includes("/hub/"), answer.url);
  });

  await step("the activity that the proxy tells is the hub's", async () => {
    const route = (await hub.api("/proxy"))["/user/ada/"];
    assert.deepEqual(route.data, { user: "ada", server_name: "", last_activity: route.data.last_activity });
    assert.ok(Date.now() - Date.parse(route.data.last_activity) < 60_000, route.data.last_activity);
  });

  await step("the culler stops the idle server", async () => {
    assert.ok(await runs(hub, "ada"));
    await ada.leave();
    await hub.cullUntil(5, async () => !(await runs(hub, "ada")));
    assert.ok(!("/user/ada/" in (await hub.api("/proxy"))), "its route is gone, too");
  });
});

scenario("lyceum proxy stays while JupyterHub starts again, and gets its routes back", async ({ step, jupyterhub, proxy, visitor }) => {
  const port = await freePort();
  const apiPort = await freePort();
  const hub = await jupyterhub(
    environmentOfVersion("6.1"),
    `
c.ConfigurableHTTPProxy.should_start = False
c.JupyterHub.last_activity_interval = 2
`,
    { port, apiPort },
  );
  const options = ["--error-target", `http://127.0.0.1:${hub.hubPort}/hub/error`];
  const places = { token: hub.proxyToken, port, apiPort };
  let own = await step("start the proxy", () => proxy("lyceum", options, places));
  await step("start the hub", () => hub.run());
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await runCell(ada, "x = 6 * 7; print(x)"), "42");

  await step("without the hub the kernel goes on", async () => {
    await hub.stop();
    assert.equal(await runCell(ada, "print(x + 1)"), "43");
  });
  await step("the hub starts again and finds its routes", async () => {
    await hub.run();
    assert.ok(await runs(hub, "ada"));
    assert.equal(await runCell(ada, "print(x + 2)"), "44");
  });
  await step("a proxy that starts again gets its routes from the hub", async () => {
    const { code } = await own.stop();
    assert.equal(code, 0, own.output);
    own = await proxy("lyceum", options, places);
    await comeBack(hub, ada);
    assert.equal(await runCell(ada, "print(x + 3)"), "45");
  });
});
