// A page that waits for something to change (`data-refresh`, in seconds): asks again until it has.
import { look, pause, show } from "./page.js";

/**
 * The content without what differs in every answer: request id, token, times.
 * @param {Element} main
 */
function source(main) {
  const copy = /** @type {Element} */ (main.cloneNode(true));
  for (const part of copy.querySelectorAll("input, .fine, time")) part.remove();
  return copy.innerHTML;
}

async function follow() {
  for (;;) {
    const main = document.querySelector("main");
    const seconds = main instanceof HTMLElement ? Number(main.dataset.refresh) : 0;
    if (!main || !(seconds > 0)) return;
    await pause(seconds * 1000);
    let found;
    try {
      found = await look();
    } catch {
      continue;
    }
    if (!found.main) {
      // Elsewhere, or a page that is not ours: the server is back.
      location.reload();
      return;
    }
    if (main.getAttribute("data-page") !== found.main.getAttribute("data-page")) {
      // Another page may need other scripts.
      location.reload();
      return;
    }
    if (source(found.main) !== source(main)) show(found, { focus: false });
  }
}

void follow();
