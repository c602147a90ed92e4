// Lyceum's hub with its routes in a real configurable-http-proxy, which people go to.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { freePort } from "./lib/ports.mjs";
import { newFolder } from "./lib/folders.mjs";
import { api, logIn, stopFromHome, waitForLab } from "./lib/hub.mjs";
import { openNotebook, runCell, waitForIdle } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

const TOKEN = "the-token-of-the-test";

scenario("the hub drives a configurable-http-proxy", async ({ step, serve, proxy, visitor }) => {
  const places = { token: TOKEN, port: await freePort(), apiPort: await freePort() };
  const folder = await newFolder("proxy-token");
  const tokenFile = join(folder, "token");
  await writeFile(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
  const start = () => proxy("configurable-http-proxy", [], places);
  const routes = async (own) => JSON.parse((await own.api("GET", "/api/routes")).body);

  let own = await step("start the proxy", start);
  await own.route("/elsewhere", "http://127.0.0.1:9");
  const lyceum = await step("start the hub", () =>
    serve({
      environment: environmentOfVersion("6.1"),
      // Over Unix sockets, configurable-http-proxy gives some requests with a body status 503 (docs/proxy.md).
      spawner: 'socket = "tcp"',
      more: {
        gateway: 'trusted_proxies = ["127.0.0.1"]',
        rest: `
[proxy]
kind = "configurable-http-proxy"
api_url = "http://127.0.0.1:${places.apiPort}"
auth_token_file = "${tokenFile}"
`,
      },
    }),
  );
  await until("the proxy leads to the hub", async () => (await own.get("/hub/health")).status === 200);

  const front = { url: `http://127.0.0.1:${places.port}`, user: "ada", password: lyceum.password };
  const ada = await visitor(front);
  await step("log in through the proxy", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await runCell(ada, "x = 6 * 7; print(x)"), "42");
  const { "/user/ada": route, "/elsewhere": foreign } = await routes(own);
  assert.equal(route.user, "ada");
  assert.ok(foreign, "routes of others are left alone");

  await step("the activity that the proxy tells is the hub's", async () => {
    const root = await visitor({ ...front, user: "root" });
    await logIn(root);
    await waitForLab(root);
    assert.equal(await runCell(ada, "print(x + 1)"), "43");
    const since = Date.now();
    assert.equal(await runCell(ada, "print(x + 2)"), "44");
    const moved = async () => {
      const model = await (await api(root, "/users/ada")).json();
      return Date.parse(model.servers[""].last_activity) >= since;
    };
    await until("the hub knows of it", moved, 90_000, 1_000);
    await root.leave();
  });

  await step("a proxy that starts anew gets its routes", async () => {
    await own.clean();
    own = await start();
    await until("they are back", async () => "/user/ada" in (await routes(own)), 30_000, 100);
    await ada.page.reload();
    await waitForLab(ada);
    await waitForIdle(ada);
    assert.equal(await runCell(ada, "print(x + 3)"), "45");
  });

  await step("without the hub the kernel goes on", async () => {
    await lyceum.crash();
    assert.equal(await runCell(ada, "print(x + 4)"), "46");
    await lyceum.start();
  });

  await step("a server that is stopped has no route any more", async () => {
    await stopFromHome(ada);
    const left = await routes(own);
    assert.ok(!("/user/ada" in left), JSON.stringify(left));
  });
});
