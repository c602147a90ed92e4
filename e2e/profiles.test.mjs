// Profiles: chosen on the page, with and without scripts, remembered, by API and by link; those of others are refused.

import assert from "node:assert/strict";

import { logIn, stopFromHome } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

const START_LIMIT = 120_000;

const rest = `
[groups.research]
users = ["eve"]
[profiles.small]
title = "For exercises"
default = true
environment = { COURSE = "small" }
default_url = "/api/status"
order = 1
[profiles.large]
title = "For large data"
description = "Much of everything."
environment = { COURSE = "large" }
default_url = "/api/status?large"
order = 2
[profiles.gpu]
title = "With a GPU"
groups = ["research"]
order = 3
`;

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";
  scenario(`a profile is chosen and remembered ${how}`, async ({ step, serve, visitor }) => {
    const hub = await serve({
      environment: environmentOfVersion("6.1"),
      more: { hub: "redirect_to_server = false", rest },
    });
    const ada = await visitor(hub, { javaScriptEnabled });
    const { page } = ada;
    const call = (method, path, data) =>
      ada.context.request.fetch(`${hub.url}/hub/api${path}`, {
        method,
        data,
        headers: { Referer: `${hub.url}/hub/home`, "X-XSRFToken": xsrf },
      });
    const chosen = async () => {
      const model = await (await call("GET", "/users/ada/server")).json();
      return model.user_options?.profile;
    };
    const running = () =>
      until("the server runs", async () => (await (await call("GET", "/users/ada/server")).json()).ready, START_LIMIT);
    let xsrf;

    await step("the home page leads to the choice", async () => {
      await logIn(ada);
      await ada.goTo("/hub/home");
      xsrf = (await ada.context.cookies()).find((cookie) => cookie.name === "_xsrf").value;
      await page.getByRole("link", { name: "Start", exact: true }).click();
      await page.getByRole("heading", { level: 1, name: "Choose your server" }).waitFor();
      const small = page.getByRole("radio", { name: "For exercises" });
      assert.ok(await small.isChecked());
      assert.equal(await page.getByRole("radio").count(), 2, "one is for others");
    });
    await step("choose with the keyboard, and start", async () => {
      await page.getByRole("radio", { name: "For exercises" }).focus();
      await page.keyboard.press("ArrowDown");
      assert.ok(await page.getByRole("radio", { name: "For large data" }).isChecked());
      await page.keyboard.press("Enter");
      await page.waitForURL(/spawn-pending|\/user\/ada\//);
      await running();
      assert.equal(await chosen(), "large");
    });
    await step("the home page names it, and shows the memory", async () => {
      await ada.goTo("/hub/home");
      const facts = page.locator(".facts").first();
      await facts.getByText("For large data").waitFor();
      await facts.getByText(/\d MiB$/).waitFor();
      await page.getByText(/iB left$/).waitFor();
    });
    await step("it is remembered", async () => {
      await stopFromHome(ada);
      await ada.goTo("/hub/spawn");
      assert.ok(await page.getByRole("radio", { name: "For large data" }).isChecked());
    });
    await step("one of others is refused on the page, by link and by API", async () => {
      for (const answer of [
        await call("POST", "/users/ada/server", { profile: "gpu" }),
        await call("PATCH", "/users/ada/server", { user_options: { profile: "gpu" } }),
        await ada.goTo("/hub/spawn?profile=gpu"),
      ]) {
        assert.equal(answer.status(), 400, answer.url());
      }
      await page.getByRole("alert").getByText("There is no profile `gpu`").waitFor();
    });
    await step("a link starts at once", async () => {
      await ada.goTo("/hub/spawn?profile=small");
      await running();
      assert.equal(await chosen(), "small");
    });
    await step("the API starts with what it names, else as the last time", async () => {
      await stopFromHome(ada);
      const answer = await call("POST", "/users/ada/server", { profile: "large" });
      assert.ok([201, 202].includes(answer.status()), await answer.text());
      await running();
      await stopFromHome(ada);
      await call("POST", "/users/ada/server");
      await running();
      assert.equal(await chosen(), "large");
    });
    if (javaScriptEnabled) {
      await step("it fits a phone, in other languages, in the dark", async () => {
        await stopFromHome(ada);
        await page.emulateMedia({ colorScheme: "dark" });
        await page.setViewportSize({ width: 320, height: 640 });
        await ada.goTo("/hub/spawn");
        for (const [language, title] of [
          ["Deutsch", /Server/],
          ["Čeština", /server/],
        ]) {
          await page.getByRole("link", { name: language }).click();
          await page.getByRole("heading", { level: 1, name: title }).waitFor();
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
          assert.ok(wide <= 0, `${wide} pixels too wide`);
        }
      });
    }
  });
}
