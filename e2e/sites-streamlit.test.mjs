// Streamlit below a path, for the members of a group: the gate is the hub's, for pages, files and WebSockets.

import assert from "node:assert/strict";

import { statusOfUpgrade } from "./apps/websocket.mjs";
import { startStreamlit } from "./lib/apps.mjs";
import { logIn } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { isLyceum } from "./lib/sites.mjs";

scenario("an app of streamlit is for a group only", async ({ step, app, sites, visitor }) => {
  const stats = await step("start the app", () => app(startStreamlit("stats")));
  const front = await sites(
    [{ name: "stats", prefix: "/stats/", url: stats.url, strip: false, access: ["class"] }],
    { class: ["ada"], others: ["bob"] },
  );
  const ada = await visitor(front);
  const { page } = ada;
  const socket = `${front.url}/stats/_stcore/stream`;

  if (isLyceum) {
    await step("a stranger's WebSocket is refused", async () => {
      assert.ok([401, 403].includes(await statusOfUpgrade(socket)));
    });
    await step("a stranger's request for a file is not answered with it", async () => {
      const answer = await fetch(`${front.url}/stats/_stcore/health`, { redirect: "manual" });
      assert.ok([302, 303, 307, 401, 403].includes(answer.status), String(answer.status));
    });
    await step("a stranger's page leads to the login, and back", async () => {
      await ada.goTo("/stats/?embed=false");
      await page.waitForURL(/\/hub\/login/);
      await logIn(ada);
      await page.waitForURL(/\/stats\/\?embed=false$/);
    });
  } else {
    await ada.goTo("/stats/?embed=false");
  }

  await step("the page is complete, and follows its input", async () => {
    await page.getByRole("heading", { name: "Statistics" }).waitFor();
    await page.getByText("its square is 400").waitFor();
    await page.getByLabel("A number").fill("12");
    await page.keyboard.press("Enter");
    await page.getByText("its square is 144").waitFor();
  });
  assert.deepEqual(ada.complaints, []);

  if (isLyceum) {
    const cookie = async (who) =>
      (await who.context.cookies(`${front.url}/stats/`)).map(({ name, value }) => `${name}=${value}`).join("; ");
    await step("a WebSocket from another site's page is refused", async () => {
      const headers = { Cookie: await cookie(ada), Origin: "https://elsewhere.example" };
      assert.equal(await statusOfUpgrade(socket, headers), 403);
    });
    const bob = await visitor(front, { user: "bob" });
    await step("who is in another group is refused, with a page", async () => {
      await bob.goTo("/hub/login?next=/hub/home");
      await logIn(bob);
      const answer = await bob.goTo("/stats/");
      assert.equal(answer.status(), 403);
      await bob.page.getByRole("heading", { level: 1 }).first().waitFor();
      assert.ok([401, 403].includes(await statusOfUpgrade(socket, { Cookie: await cookie(bob) })));
    });
    await step("who logs out is a stranger again", async () => {
      await ada.goTo("/hub/home");
      await page.locator("button, a").filter({ hasText: /^\s*log ?out\s*$/i }).first().click();
      await page.waitForURL(/\/hub\/(login|logout)/);
      await ada.goTo("/stats/");
      await page.waitForURL(/\/hub\/login/);
    });
  }
});
