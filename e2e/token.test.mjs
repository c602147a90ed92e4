// The page of tokens, with and without scripts: a token that is made there works, and ends when it is revoked.

import assert from "node:assert/strict";

import { logIn } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";
  scenario(`a token is made, used and revoked ${how}`, async ({ step, serve, visitor }) => {
    const hub = await serve({
      environment: environmentOfVersion("6.1"),
      // The server plays no part.
      more: { hub: "redirect_to_server = false" },
    });
    const ada = await visitor(hub, { javaScriptEnabled });
    const { page } = ada;
    await step("every page leads there", async () => {
      await logIn(ada);
      await page.getByRole("link", { name: "Tokens" }).click();
      await page.getByRole("heading", { level: 1, name: "Tokens" }).waitFor();
    });

    const token = await step("make one", async () => {
      await page.getByLabel("What it is for").fill("my script");
      await page.getByLabel("How long it lasts").selectOption({ label: "1 hour" });
      await page.getByLabel("What it may do").first().fill("read:users:name!user");
      await page.getByRole("button", { name: "Create a token" }).click();
      await page.getByRole("heading", { level: 1, name: "Your new token" }).waitFor();
      return page.getByLabel("my script").inputValue();
    });
    assert.match(token, /^[0-9a-f]{32}$/);
    assert.ok(!page.url().includes(token));

    const whose = () => fetch(new URL("/hub/api/user", hub.url), { headers: { authorization: `Bearer ${token}` } });
    await step("it works", async () => {
      const answer = await whose();
      assert.equal(answer.status, 200);
      assert.equal((await answer.json()).name, "ada");
    });

    await step("it is not shown again", async () => {
      await ada.goTo("/hub/token");
      await page.getByRole("heading", { level: 3, name: "my script" }).waitFor();
      assert.ok(!(await page.content()).includes(token));
    });

    await step("revoke it", async () => {
      await page.getByRole("button", { name: "Revoke my script" }).click();
      await page.getByText("You have no tokens.").waitFor();
      assert.equal((await whose()).status, 403);
    });

    await step("what cannot be is said, and what was typed is kept", async () => {
      await page.getByLabel("What it is for").fill("kept");
      await page.getByLabel("What it may do").first().fill("nonsense");
      await page.getByRole("button", { name: "Create a token" }).click();
      await page.getByRole("alert").filter({ hasText: "nonsense" }).waitFor();
      assert.equal(await page.getByLabel("What it is for").inputValue(), "kept");
    });
  });
}
