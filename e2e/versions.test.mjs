// Servers of other versions of JupyterHub: the single-user server is the user's own, and not always as new as the hub.

import assert from "node:assert/strict";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { logIn, waitForLab } from "./lib/hub.mjs";
import { chooseFromFileMenu, openNotebook, runCell } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { newFolder } from "./lib/folders.mjs";
import { until } from "./lib/wait.mjs";

for (const version of ["6.1", "5.4", "4.1"]) {
  scenario(`a server of JupyterHub ${version} works in every way`, async ({ step, serve, visitor }) => {
    const hub = await serve({
      environment: environmentOfVersion(version),
      spawner: 'environment = { JUPYTERHUB_ACTIVITY_INTERVAL = "3" }',
      // Users may share their servers only where the administrator says so.
      more: { rest: '[[roles]]\nname = "user"\nscopes = ["self", "shares!user"]' },
    });
    const ada = await visitor(hub, { user: "ada" });
    await step("log in", () => logIn(ada));
    await step("JupyterLab opens", () => waitForLab(ada));
    await step("a kernel runs", async () => {
      await openNotebook(ada);
      assert.equal(await runCell(ada, "print(6*7)"), "42");
      const seen = await runCell(ada, "import jupyterhub; print(jupyterhub.__version__)");
      assert.ok(seen.startsWith(version), seen);
    });

    await step("it reports activity", async () => {
      const begun = Date.now();
      await until(
        "the server has used its token after the cell ran",
        async () => (await lastUseOfServersToken(ada)) > begun,
        30_000,
      );
    });

    const bob = await visitor(hub, { user: "bob" });
    await step("bob may not open it", async () => {
      await logIn(bob);
      await waitForLab(bob);
      const answer = await bob.goTo("/user/ada/lab");
      assert.ok([403, 404].includes(answer.status()), String(answer.status()));
    });
    await step("ada shares it by a code", async () => {
      const { accept_url: link } = await call(ada, "post", "/share-codes/ada/", {});
      await bob.goTo(link);
      await bob.page.locator("form button[type=submit], form input[type=submit]").last().click();
      await authorize(bob);
      await bob.page.waitForURL(/\/user\/ada\//);
      await bob.goTo("/user/ada/lab");
      await bob.page.locator("#jp-main-dock-panel").waitFor();
    });

    await step("ada stops it from JupyterLab's menu", async () => {
      const opened = ada.context.waitForEvent("page").catch(() => undefined);
      await chooseFromFileMenu(ada, "Hub Control Panel");
      const panel = await opened;
      assert.ok(panel, "the menu opens the hub's page");
      await panel.waitForURL(/\/hub\/home/);
      await panel.locator("button, a").filter({ hasText: /^\s*stop(\s+my\s+server)?\s*$/i }).first().click();
      await until(
        "the server has stopped",
        async () => (await call(ada, "get", "/users/ada/server")).stopped === true,
        60_000,
      );
    });
  });
}

scenario("custom scopes make a shared server read-only", async ({ step, serve, visitor }) => {
  const settings = await newFolder("read-only-settings");
  await mkdir(settings, { recursive: true });
  await writeFile(join(settings, "jupyter_server_config.py"), AUTHORIZER);
  const hub = await serve({
    environment: environmentOfVersion("6.1"),
    spawner: `environment = { JUPYTER_CONFIG_PATH = "${settings}" }`,
    more: {
      hub: 'oauth_client_allowed_scopes = ["access:servers!server", "custom:files:read", "custom:files:write"]',
      rest: `
[custom_scopes."custom:files:read"]
description = "Read files in servers that you may open."
[custom_scopes."custom:files:write"]
description = "Change files in servers that you may open."
subscopes = ["custom:files:read"]
[[roles]]
name = "owners"
scopes = ["custom:files:write"]
users = ["ada"]
[[roles]]
name = "readers"
scopes = ["access:servers!user=ada", "custom:files:read"]
users = ["bob"]
`,
    },
  });
  const ada = await visitor(hub, { user: "ada" });
  const file = "/user/ada/api/contents/notes.txt";
  const notes = { type: "file", format: "text", content: "one" };
  await step("ada may write", async () => {
    await logIn(ada);
    await waitForLab(ada);
    assert.equal(await statusInServer(ada, "put", file, notes), 201);
  });
  const bob = await visitor(hub, { user: "bob" });
  await step("bob may only read", async () => {
    await logIn(bob);
    await waitForLab(bob);
    await bob.goTo("/user/ada/lab");
    await authorize(bob);
    assert.equal(await statusInServer(bob, "get", file), 200);
    assert.equal(await statusInServer(bob, "put", file, { ...notes, content: "two" }), 403);
  });
  await step("the file is as ada wrote it", async () => {
    const answer = await ada.context.request.get(`${hub.url}${file}`);
    assert.equal((await answer.json()).content, "one");
  });
});

/** Who may do what with the contents, told by custom scopes: a setting of the single-user server, in its language. */
const AUTHORIZER = `
from jupyterhub.singleuser.extension import JupyterHubAuthorizer

class ByScope(JupyterHubAuthorizer):
    def is_authorized(self, handler, user, action, resource):
        if not super().is_authorized(handler, user, action, resource):
            return False
        if resource != "contents":
            return True
        scopes = user.hub_user["scopes"] if hasattr(user, "hub_user") else handler.current_user.hub_user["scopes"]
        needed = "custom:files:read" if action == "read" else "custom:files:write"
        return any(scope == needed for scope in scopes)

c = get_config()
c.ServerApp.authorizer_class = ByScope
`;

/** Agrees on the confirm page, if the hub shows one. */
async function authorize(visitor) {
  const { page } = visitor;
  await page.waitForURL((url) => /oauth2\/authorize|\/user\/ada\//.test(url.pathname));
  if (!page.url().includes("oauth2/authorize")) return;
  await page.getByRole("button", { name: /authorize|allow/i }).click();
}

/** When the single-user server last used its own token, in milliseconds. */
async function lastUseOfServersToken(visitor) {
  const { api_tokens: tokens } = await call(visitor, "get", `/users/${visitor.user}/tokens`);
  const own = tokens.find((token) => token.note.startsWith("Server at"));
  return own?.last_activity ? Date.parse(own.last_activity) : 0;
}

/** Calls the hub's API with the browser's cookies, and gives the answer's JSON. */
async function call(visitor, method, path, data) {
  const answer = await send(visitor, "/hub/", method, `/hub/api${path}`, data);
  assert.ok(answer.ok(), `${method} ${path}: ${answer.status()} ${await answer.text()}`);
  return answer.json();
}

/** Calls the single-user server's API with the browser's cookies, and gives the status. */
async function statusInServer(visitor, method, path, data) {
  return (await send(visitor, "/user/ada/", method, path, data)).status();
}

/** Sends a request with cookies, and with the token against forged requests that belongs to a path. */
async function send(visitor, at, method, path, data) {
  const cookies = await visitor.context.cookies(`${visitor.hub.url}${at}`);
  const xsrf = cookies.find((cookie) => cookie.name === "_xsrf" && at.startsWith(cookie.path))?.value ?? "";
  const headers = { "X-XSRFToken": xsrf };
  return visitor.context.request[method](`${visitor.hub.url}${path}`, { headers, data });
}
