// JupyterLab as a person uses it: a notebook, cells, the menu.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";

import { until } from "./wait.mjs";

/** Starting a kernel on a busy machine. */
const KERNEL_LIMIT = 90_000;

/** The notebook in front. */
const NOTEBOOK = ".jp-NotebookPanel:not(.lm-mod-hidden)";

/** Opens JupyterLab in a workspace of its own: a restored tab would hide the launcher. */
export async function openFreshLab(visitor) {
  const workspace = `e2e-${randomBytes(4).toString("hex")}`;
  await visitor.goTo(`/user/${visitor.user}/lab/workspaces/${workspace}`);
  await visitor.page.locator("#jp-main-dock-panel").waitFor();
}

/** Opens a new Python notebook from the launcher and waits until its kernel is idle. */
export async function openNotebook(visitor) {
  const { page } = visitor;
  const card = page.locator('.jp-LauncherCard[data-category="Notebook"]:visible').first();
  // Where JupyterLab has restored other tabs, the launcher is not open, and a notebook may ask for its lost kernel.
  const open = await card.waitFor({ timeout: 5_000 }).then(
    () => true,
    () => false,
  );
  if (!open) await openFreshLab(visitor);
  await card.click();
  await page.locator(NOTEBOOK).locator(".jp-Cell").first().waitFor();
  await waitForIdle(visitor);
}

/**
 * Waits until the kernel is idle, as the status bar says.
 *
 * The circle in the notebook's own bar looks idle before the kernel is connected.
 */
export async function waitForIdle(visitor) {
  await visitor.page.locator("#jp-main-statusbar").getByText("| Idle").waitFor({ timeout: KERNEL_LIMIT });
}

/** Runs code in the notebook's last cell, and returns what it printed. */
export async function runCell(visitor, code) {
  const { page } = visitor;
  const cell = page.locator(NOTEBOOK).locator(".jp-CodeCell").last();
  await cell.locator(".cm-content").click();
  await page.keyboard.insertText(code);
  await page.keyboard.press("Shift+Enter");
  // A number in the brackets says that the cell has run, a star that it still runs.
  const ran = page.locator(NOTEBOOK).locator(".jp-CodeCell").filter({ hasText: code }).last();
  await until(
    `the cell ${code} has run`,
    async () => /^\[\d+\]:$/.test((await ran.locator(".jp-InputPrompt").innerText()).trim()),
    KERNEL_LIMIT,
  );
  const outputs = await ran.locator(".jp-OutputArea-output").allInnerTexts();
  return outputs.join("\n").trim();
}

/** Chooses one of the entries that JupyterLab's hub extension adds to the File menu. */
export async function chooseFromFileMenu(visitor, entry) {
  const { page } = visitor;
  await page.locator("#jp-MainMenu").getByText("File", { exact: true }).click();
  // JupyterLab has a "Log Out" of its own beside the hub's.
  await page.locator('.lm-Menu-item[data-command^="hub:"]').filter({ hasText: entry }).click();
}

/** Checks that JupyterLab shows no dialog, which at these moments would be an error. */
export async function expectNoDialog(visitor) {
  const dialogs = await visitor.page.locator(".jp-Dialog").allInnerTexts();
  assert.deepEqual(dialogs, [], "JupyterLab shows a dialog");
}
