// The pages for administrators: servers of others, users and groups, with and without scripts, by keyboard, on a phone.

import assert from "node:assert/strict";

import { logIn } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

const START_LIMIT = 120_000;

scenario("an administrator looks after users, servers and groups", async ({ step, serve, visitor }) => {
  const hub = await serve({
    environment: environmentOfVersion("6.1"),
    // The administrator's own server plays no part.
    more: { hub: "redirect_to_server = false" },
  });
  const root = await visitor(hub, { user: "root" });
  const { page } = root;
  await step("the home page leads there", async () => {
    await logIn(root);
    await root.goTo("/hub/home");
    await page.getByRole("link", { name: "Administration" }).click();
    await page.getByRole("heading", { level: 1, name: "Administration" }).waitFor();
  });

  await step("add users", async () => {
    await page.getByText("Add users").first().click();
    await page.getByLabel("User names").fill("ada\nBob, eve");
    await page.getByRole("button", { name: "Add users" }).click();
    for (const name of ["ada", "bob", "eve"]) await row(page, name).waitFor();
    await page.getByText("Add users").first().click();
    await page.getByLabel("User names").fill("a/b");
    await page.getByRole("button", { name: "Add users" }).click();
    await page.getByRole("alert").filter({ hasText: "slash" }).waitFor();
    assert.equal(await page.getByLabel("User names").inputValue(), "a/b");
  });

  await step("start ada's server without leaving the page", async () => {
    await root.goTo("/hub/admin?name_filter=ada");
    // What is being typed must outlive what the script shows.
    await page.getByLabel("Name contains").fill("half a wor");
    const start = row(page, "ada").getByRole("button", { name: /^Start/ });
    await start.focus();
    await page.keyboard.press("Enter");
    await row(page, "ada").getByText("Starting", { exact: true }).waitFor();
    await row(page, "ada").getByText("Running", { exact: true }).waitFor({ timeout: START_LIMIT });
    assert.equal(await page.getByLabel("Name contains").inputValue(), "half a wor");
    assert.match(page.url(), /\/hub\/admin\?name_filter=ada$/);
  });
  await step("open it", async () => {
    await row(page, "ada").getByRole("link", { name: /^Open/ }).click();
    // It is ada's, so the hub asks what is shared with whom.
    const agree = page.getByRole("button", { name: "Authorize" });
    const lab = page.locator("#jp-main-dock-panel");
    await agree.or(lab).first().waitFor({ timeout: START_LIMIT });
    if (await agree.isVisible()) await agree.click();
    await page.waitForURL(/\/user\/ada\//);
    await lab.waitFor({ timeout: START_LIMIT });
  });
  await step("search, and stop it", async () => {
    await root.goTo("/hub/admin");
    await page.getByLabel("Servers").selectOption("ready");
    await page.getByRole("button", { name: "Search" }).click();
    await page.waitForURL(/state=ready/);
    await row(page, "ada").waitFor();
    assert.equal(await page.locator("tbody tr").count(), 1);
    await row(page, "ada").getByRole("button", { name: /^Stop/ }).click();
    // Then it is not among those that run any more.
    await page.getByText("No user is like this.").waitFor({ timeout: 60_000 });
  });

  await step("make bob an administrator, and rename him", async () => {
    await root.goTo("/hub/admin");
    await page.getByRole("link", { name: "bob", exact: true }).click();
    await page.locator("summary", { hasText: "Make an administrator" }).click();
    await page.getByRole("button", { name: "Make an administrator" }).click();
    await page.getByRole("heading", { level: 1 }).getByText("Administrator").waitFor();
    await page.locator("summary", { hasText: "Rename" }).click();
    await page.getByLabel("New name").fill("robert");
    await page.getByRole("button", { name: "Rename" }).click();
    await page.waitForURL(/\/hub\/admin\/users\/robert$/);
  });
  await step("delete him, which needs a tick", async () => {
    await page.locator("summary", { hasText: "Delete the user" }).click();
    const button = page.getByRole("button", { name: "Delete", exact: true });
    await button.click();
    assert.match(page.url(), /users\/robert$/, "the browser asks for the tick");
    await page.getByLabel("Yes, delete robert for ever").check();
    await button.click();
    await page.waitForURL(/\/hub\/admin$/);
    assert.equal(await row(page, "robert").count(), 0);
  });

  await step("a group with members and properties", async () => {
    await page.getByRole("link", { name: "Groups" }).click();
    await page.getByLabel("Group", { exact: true }).fill("class");
    await page.getByRole("button", { name: "Add a group" }).click();
    await page.getByRole("heading", { level: 1, name: "Group class" }).waitFor();
    await page.getByLabel("Add members").fill("ada, eve");
    await page.getByRole("button", { name: "Add members" }).click();
    await page.getByRole("button", { name: "Remove ada" }).click();
    await until("eve is left", async () => (await page.locator(".members a").allTextContents()).join() === "eve", 10_000);
    await page.locator("summary", { hasText: "Properties" }).click();
    await page.getByLabel("Properties").fill('{"quota": 2}');
    await page.getByRole("button", { name: "Save" }).click();
    await root.goTo("/hub/admin/users/eve");
    await page.getByRole("link", { name: "class" }).click();
    assert.match(await page.locator("#properties").inputValue(), /"quota": 2/);
  });

  await step("it fits a phone, and speaks Czech", async () => {
    await page.setViewportSize({ width: 360, height: 740 });
    for (const path of ["/hub/admin", "/hub/admin/users/ada", "/hub/admin/groups", "/hub/admin/groups/class"]) {
      await root.goTo(path);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wide <= 0, `${path} is ${wide} pixels too wide`);
    }
    await root.goTo("/hub/admin");
    await page.getByRole("link", { name: "Čeština" }).click();
    await page.getByRole("heading", { level: 1, name: "Správa" }).waitFor();
  });
  assert.deepEqual(root.complaints, []);

  const ada = await visitor(hub, { user: "ada" });
  await step("others are kept out", async () => {
    await logIn(ada);
    assert.equal((await ada.goTo("/hub/admin")).status(), 403);
    await ada.goTo("/hub/home");
    assert.equal(await ada.page.getByRole("link", { name: "Administration" }).count(), 0);
  });
});

scenario("the pages for administrators work without scripts", async ({ step, serve, visitor }) => {
  const hub = await serve({
    environment: environmentOfVersion("6.1"),
    // The administrator's own server plays no part.
    more: { hub: "redirect_to_server = false" },
  });
  const root = await visitor(hub, { user: "root", javaScriptEnabled: false });
  const { page } = root;
  await step("log in", () => logIn(root));
  await step("add a user and start the server", async () => {
    await root.goTo("/hub/admin");
    await page.locator("summary", { hasText: "Add users" }).click();
    await page.getByLabel("User names").fill("ada");
    await page.getByRole("button", { name: "Add users" }).click();
    await row(page, "ada").getByRole("button", { name: /^Start/ }).click();
    // The page looks again by itself.
    await row(page, "ada").getByText("Running", { exact: true }).waitFor({ timeout: START_LIMIT });
    await row(page, "ada").getByRole("button", { name: /^Stop/ }).click();
    await row(page, "ada").getByText("Stopped", { exact: true }).waitFor({ timeout: 60_000 });
  });
  await step("delete the user", async () => {
    await page.getByRole("link", { name: "ada", exact: true }).click();
    await page.locator("summary", { hasText: "Delete the user" }).click();
    await page.getByLabel("Yes, delete ada for ever").check();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.waitForURL(/\/hub\/admin$/);
    assert.equal(await row(page, "ada").count(), 0);
  });
});

/** The row of a user in the list. */
function row(page, name) {
  return page.locator("tbody tr").filter({ has: page.getByRole("link", { name, exact: true }) });
}
