// A start, live: follows the hub's progress events, goes to the server when it is ready, shows the failure
// if it fails, and finds its way back when the hub was restarted meanwhile.
import { look, pause, show } from "./page.js";

/**
 * @typedef {object} Progress
 * @property {number} [progress]
 * @property {string} [message]
 * @property {boolean} [ready]
 * @property {string} [url]
 * @property {boolean} [failed]
 */

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
const bar = /** @type {HTMLProgressElement} */ (document.getElementById("bar"));
const steps = /** @type {HTMLElement} */ (document.getElementById("steps"));

/** Texts that are shown already; events are repeated on each connection. */
const said = new Set([...steps.children].map((step) => step.textContent?.trim() ?? ""));
let eventsUrl = main.dataset.events ?? "";
let over = false;
/** How long to wait before asking again, in milliseconds; grows until the events flow. */
let patience = 250;

/**
 * A text that is read out when it appears.
 * @param {string} id
 * @param {boolean} visible
 */
function notice(id, visible) {
  const element = document.getElementById(id);
  if (!element || element.hidden !== visible) return;
  element.hidden = !visible;
  element.textContent = visible ? element.dataset.text ?? "" : "";
}

/** @param {string} message */
function say(message) {
  if (!message || said.has(message)) return;
  said.add(message);
  const step = document.createElement("li");
  step.lang = "en";
  step.textContent = message;
  steps.append(step);
}

/** @param {string | undefined} url */
function go(url) {
  over = true;
  bar.value = 100;
  steps.classList.add("done");
  notice("ready", true);
  location.replace(main.dataset.ready || url || location.href);
}

/** The page that the hub has for the failure tells it best, and in the reader's language. */
async function fail() {
  over = true;
  for (let wait = 250; ; wait = Math.min(wait * 2, 4000)) {
    const found = await look().catch(() => null);
    if (found?.main?.getAttribute("data-page") === "failed") {
      show(found, { focus: true });
      return;
    }
    if (found && found.main?.getAttribute("data-page") !== "progress") {
      location.reload();
      return;
    }
    await pause(wait);
  }
}

/** Asks the hub for the page until it answers; what it says decides how to go on. */
async function recover() {
  while (!over) {
    patience = Math.min(patience * 2, 5000);
    await pause(patience);
    const found = await look().catch(() => null);
    // No answer, or the gateway answers in place of a hub that is being restarted.
    if (!found || (found.status >= 502 && found.status <= 504)) {
      notice("lost", true);
      continue;
    }
    const page = found.main?.getAttribute("data-page");
    if (page === "failed") {
      over = true;
      show(found, { focus: true });
    } else if (page === "progress") {
      // The token in the URL of the events may be a new one.
      eventsUrl = found.main?.getAttribute("data-events") ?? eventsUrl;
      follow();
    } else {
      location.reload();
    }
    return;
  }
}

function follow() {
  const events = new EventSource(eventsUrl);
  events.onopen = () => {
    patience = 250;
    notice("lost", false);
  };
  events.onmessage = (event) => {
    /** @type {Progress} */
    let progress;
    try {
      progress = JSON.parse(event.data);
    } catch {
      return;
    }
    if (typeof progress.progress === "number") bar.value = Math.max(bar.value, progress.progress);
    if (progress.ready) {
      events.close();
      go(progress.url);
    } else if (progress.failed) {
      events.close();
      void fail();
    } else {
      say(progress.message ?? "");
    }
  };
  events.onerror = () => {
    events.close();
    if (!over) void recover();
  };
}

function clock() {
  const elapsed = document.getElementById("elapsed");
  const field = elapsed?.querySelector("[data-clock]");
  if (!elapsed || !field) return;
  const before = Number(main.dataset.elapsed) || 0;
  const tick = () => {
    const seconds = Math.floor(before + performance.now() / 1000);
    field.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  };
  tick();
  elapsed.hidden = false;
  setInterval(tick, 1000);
}

// Coming back by the Back button: what was shown then is long over.
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

clock();
follow();
