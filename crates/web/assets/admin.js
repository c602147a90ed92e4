// The pages for administrators: servers are started and stopped with the REST API, and what is shown follows them.
import { look, pause } from "./page.js";

/** How long a request may be under way before the page shows that something goes on. */
const SOON = 300;
/** Between two looks while something changes by itself. */
const BETWEEN = 2000;

/** What is typed or chosen must not be lost, so only the parts that are marked are replaced. */
async function update() {
  const found = await look();
  if (!found.main) {
    location.reload();
    return;
  }
  const focused = document.activeElement?.getAttribute("data-key");
  for (const old of document.querySelectorAll("[data-live]")) {
    const fresh = found.main.querySelector(`#${CSS.escape(old.id)}`);
    if (!fresh) continue;
    const had = old.contains(document.activeElement);
    const next = document.adoptNode(fresh);
    old.replaceWith(next);
    if (!had || !focused) continue;
    const same = next.querySelector(`[data-key="${CSS.escape(focused)}"]`);
    if (same instanceof HTMLElement) same.focus();
  }
  document.dispatchEvent(new Event("lyceum:shown"));
}

let following = false;

/** Looks again until nothing changes by itself any more. */
async function follow() {
  if (following) return;
  following = true;
  while (document.querySelector("[data-changing]")) {
    await pause(BETWEEN);
    try {
      await update();
    } catch {
      // The hub does not answer just now.
    }
  }
  following = false;
}

/** @param {string | null} text  null when there is nothing wrong */
function say(text) {
  const note = document.getElementById("script-problem");
  const message = note?.querySelector("[data-message]");
  if (!note || !message) return;
  message.textContent = text;
  note.toggleAttribute("hidden", text === null);
}

/**
 * Does with the REST API what the form would do.
 * @param {HTMLFormElement} form
 * @returns {Promise<string | null>} what went wrong
 */
async function call(form) {
  const token = form.elements.namedItem("_xsrf");
  const response = await fetch(form.dataset.url ?? "", {
    method: form.dataset.method,
    headers: {
      Accept: "application/json",
      "Content-Type": "application/json",
      "X-XSRFToken": token instanceof HTMLInputElement ? token.value : "",
    },
    signal: AbortSignal.timeout(120_000),
  });
  if (response.ok) return null;
  const body = await response.json().catch(() => ({}));
  return typeof body.message === "string" ? body.message : `${response.status} ${response.statusText}`;
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !form.dataset.url || event.defaultPrevented) return;
  event.preventDefault();
  void (async () => {
    say(null);
    const lost = document.getElementById("script-problem")?.dataset.text ?? "";
    const done = call(form).catch(() => lost);
    // Many are done at once; for the others, the page shows meanwhile that they have begun.
    await Promise.race([done, pause(SOON)]);
    await update().catch(() => undefined);
    void follow();
    const problem = await done;
    if (problem !== null) say(problem);
    await update().catch(() => undefined);
    // What was not replaced can be tried again.
    delete form.dataset.sent;
    for (const button of form.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
    void follow();
  })();
});

void follow();
