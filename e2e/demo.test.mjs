// The main story: from an empty folder to a running notebook cell, and everything a person does around it.

import assert from "node:assert/strict";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";

import { newFolder } from "./lib/folders.mjs";
import { expectForbidden, expectLoggedOut, logIn, logOut, startFromHome, stopFromHome, waitForLab } from "./lib/hub.mjs";
import { chooseFromFileMenu, expectNoDialog, openFreshLab, openNotebook, runCell } from "./lib/lab.mjs";
import { scenario } from "./lib/scenario.mjs";
import { until } from "./lib/wait.mjs";

scenario("from an empty folder to a notebook cell", async ({ step, demo, visitor }) => {
  const dataFolder = await newFolder("empty");
  const hub = await step("prepare the Python environment and listen", () => demo({ dataFolder }));
  assert.ok((await readdir(dataFolder)).includes("envs"), "the environment is in the data folder");
  assert.ok(hub.output.includes(hub.url) && hub.output.includes(hub.user), hub.output);

  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens by itself", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await step("run a cell", () => runCell(ada, "print(6*7)")), "42");
  await expectNoDialog(ada);
  assert.deepEqual(ada.complaints, []);

  const generations = await readdir(join(dataFolder, "envs/python/base"));
  await step("a second start prepares nothing", async () => {
    await hub.interrupt();
    await hub.start();
    assert.doesNotMatch(hub.output, /prepar/i);
  });
  assert.deepEqual(await readdir(join(dataFolder, "envs/python/base")), generations);
  await hub.clean();
  await rm(dataFolder, { recursive: true, force: true });
});

scenario("stop, start again, log out", async ({ step, demo, visitor }) => {
  const hub = await demo();
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  assert.notEqual((await hub.serverProcesses()).length, 0);

  await step("stop from the home page", () => stopFromHome(ada));
  await until("no process is left", async () => (await hub.serverProcesses()).length === 0, 20_000);

  await step("start again from the home page", () => startFromHome(ada));
  await step("JupyterLab opens again", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  assert.equal(await step("run a cell", () => runCell(ada, "print(6*7)")), "42");

  await step("log out", () => logOut(ada));
  await step("the server asks who one is", async () => {
    await ada.goTo(`/user/${hub.user}/lab`);
    await ada.page.waitForURL(/\/hub\/login/);
  });
  assert.deepEqual(ada.complaints, []);
});

scenario("JupyterLab's Hub menu", async ({ step, demo, visitor }) => {
  const hub = await demo();
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));

  await step("File > Hub Control Panel opens the home page", async () => {
    const [panel] = await Promise.all([
      ada.context.waitForEvent("page"),
      chooseFromFileMenu(ada, "Hub Control Panel"),
    ]);
    await panel.waitForURL(/\/hub\/home/);
    await panel.getByRole("heading", { level: 1 }).waitFor();
    await panel.close();
  });
  await expectNoDialog(ada);
  await step("File > Log Out logs out", async () => {
    await chooseFromFileMenu(ada, "Log Out");
    await expectLoggedOut(ada);
  });
  assert.deepEqual(ada.complaints, []);
});

scenario("a second user cannot open the first one's server", async ({ step, demo, visitor }) => {
  const hub = await demo();
  const ada = await visitor(hub);
  await step("the first user logs in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));

  const bob = await visitor(hub, { user: "bob" });
  await bob.goTo("/hub/login?next=/hub/home");
  await step("the second user logs in", () => logIn(bob));
  await bob.page.waitForURL(/\/hub\/home/);
  await step("the first one's server is refused", () => expectForbidden(bob, `/user/${hub.user}/lab`));
  await step("so are its API and its files", async () => {
    for (const path of ["api/contents", "api/kernels", "files/secret.txt"]) {
      const answer = await bob.context.request.get(`${hub.url}/user/${hub.user}/${path}`);
      assert.equal(answer.status(), 403, path);
    }
  });
  await step("the first user goes on", async () => {
    await openFreshLab(ada);
    await openNotebook(ada);
    assert.equal(await runCell(ada, "print(6*7)"), "42");
  });
});
