// R's shiny below a path: its files load, its WebSocket is open, and the page follows its slider.

import assert from "node:assert/strict";

import { startShiny } from "./lib/apps.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";

scenario("an app of shiny works below a path", async ({ step, app, sites, visitor }) => {
  const shiny = await step("start the app", () => app(startShiny()));
  const front = await sites([{ name: "shiny", prefix: "/shiny/", url: shiny.url, kind: "shiny", access: "public" }]);
  const ada = await visitor(front);
  const { page } = ada;
  const failed = [];
  const sockets = [];
  page.on("response", (answer) => {
    if (answer.status() >= 400 && answer.url().includes("/shiny/")) failed.push(answer.url());
  });
  page.on("websocket", (socket) => sockets.push(socket));

  await step("the path without its slash leads there", async () => {
    await ada.goTo("/shiny");
    assert.equal(new URL(page.url()).pathname, "/shiny/");
  });
  await step("the page is complete", async () => {
    await page.getByRole("heading", { name: "Waiting for the geyser" }).waitFor();
    await page.getByText("twice as many: 20").waitFor();
    await page.locator("#plot img").waitFor();
    // Debian's package lacks a file that its pages ask for: what is missing without a proxy, too, does not count.
    for (const url of failed) {
      const alone = await fetch(url.replace(`${front.url}/shiny`, shiny.url));
      assert.ok(!alone.ok, `${url} fails, but not without the gateway`);
    }
  });
  await step("its WebSocket is below the path", () => {
    assert.ok(sockets.length > 0);
    for (const socket of sockets) assert.match(new URL(socket.url()).pathname, /^\/shiny\//);
  });
  await step("the output follows the slider", async () => {
    const handle = await page.locator(".irs-handle").boundingBox();
    await page.mouse.move(handle.x + handle.width / 2, handle.y + handle.height / 2);
    await page.mouse.down();
    await page.mouse.move(handle.x + 150, handle.y + handle.height / 2, { steps: 5 });
    await page.mouse.up();
    const seen = await until("the output has changed", async () => {
      const text = await page.locator("#double").innerText();
      return text !== "twice as many: 20" && text;
    });
    const bins = Number(await page.locator("#bins").inputValue());
    assert.ok(bins > 10, String(bins));
    if (seen !== `twice as many: ${2 * bins}`) await page.getByText(`twice as many: ${2 * bins}`, { exact: true }).waitFor();
  });
  assert.ok(!sockets.at(-1).isClosed());
  assert.deepEqual(ada.complaints, []);
});
