// The page between a click and JupyterLab: it is there as long as the server starts, says what goes on, and leads on.

import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { newFolder } from "./lib/folders.mjs";
import { logIn, waitForLab } from "./lib/hub.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentOfVersion } from "./lib/serve.mjs";

scenario("the progress page is there as long as a server starts, and leads to it", async ({ step, serve, visitor }) => {
  const environment = environmentOfVersion("6.1");
  const folder = await newFolder("slow");
  // A server that starts when it is told to.
  const go = join(folder, "go");
  const slow = `until [ -e '${go}' ]; do sleep 0.1; done; exec '${environment}/bin/jupyterhub-singleuser' --allow-root \\"$@\\"`;
  const hub = await serve({
    spawner: `command = ["/bin/sh", "-c", "${slow}", "sh"]\npath = ["${environment}/bin", "/usr/bin", "/bin"]`,
  });
  const ada = await visitor(hub);
  const { page } = ada;

  await step("logging in leads to the progress page", async () => {
    await logIn(ada);
    await page.waitForURL(/\/hub\/spawn-pending\/ada/);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.getByRole("progressbar").waitFor();
  });
  await step("so does asking again", async () => {
    await ada.goTo("/user/ada/lab");
    await page.waitForURL(/\/hub\/spawn-pending\/ada/);
    await page.getByRole("progressbar").waitFor();
  });
  await step("it leads on by itself", async () => {
    await writeFile(go, "");
    await waitForLab(ada);
  });
  assert.deepEqual(ada.complaints, []);
  await rm(folder, { recursive: true });
});
