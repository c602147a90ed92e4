// Lyceum is killed while a kernel runs: the server, the kernel and the login are still there afterwards.

import assert from "node:assert/strict";

import { logIn, waitForLab } from "./lib/hub.mjs";
import { expectNoDialog, openNotebook, runCell, waitForIdle } from "./lib/lab.mjs";
import { readProcess } from "./lib/processes.mjs";
import { scenario } from "./lib/scenario.mjs";

scenario("kill -9 costs neither the login nor the kernel", async ({ step, demo, visitor }) => {
  const hub = await demo();
  const ada = await visitor(hub);
  await step("log in", () => logIn(ada));
  await step("JupyterLab opens", () => waitForLab(ada));
  await step("open a notebook", () => openNotebook(ada));
  const ids = await runCell(ada, "import os; x = 6 * 7; print(os.getppid(), os.getpid())");
  const [server, kernel] = ids.split(" ").map(Number);
  const before = [await readProcess(server), await readProcess(kernel)];
  assert.ok(before[0] && before[1], ids);

  await step("kill -9", () => hub.crash());
  await step("start again", () => hub.start());
  assert.ok(hub.startedIn < 2_000, `listens again after ${hub.startedIn} ms`);

  await step("the open page goes on without a click", async () => {
    // A page that found nobody at the other end tries again after 10 to 30 s; what is run meanwhile waits for that.
    assert.equal(await runCell(ada, "print(x)"), "42");
  });
  await step("a new page needs no login", async () => {
    await ada.page.reload();
    await waitForLab(ada);
    await waitForIdle(ada);
    await expectNoDialog(ada);
    assert.equal(await runCell(ada, "print(x, os.getppid(), os.getpid())"), `42 ${ids}`);
  });
  const after = [await readProcess(server), await readProcess(kernel)];
  assert.deepEqual(
    after.map((process) => process?.started),
    before.map((process) => process.started),
    "server and kernel are the same processes",
  );
});
