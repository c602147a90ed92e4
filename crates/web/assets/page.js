// Asks the hub for the open page again, and puts what it says now in place of what it said before.

/**
 * @typedef {object} Found
 * @property {boolean} moved  the hub wants us elsewhere
 * @property {number} status
 * @property {Element | null} main  the new content
 * @property {string} title
 */

/**
 * Asks again; rejects if the hub does not answer.
 * @returns {Promise<Found>}
 */
export async function look() {
  const response = await fetch(location.href, {
    headers: { Accept: "text/html" },
    redirect: "manual",
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  });
  if (response.type === "opaqueredirect") return { moved: true, status: 0, main: null, title: "" };
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  return { moved: false, status: response.status, main: page.querySelector("main"), title: page.title };
}

/**
 * Shows what was found.
 * @param {Found} found
 * @param {{ focus: boolean }} options  with `focus`, the new heading is read out
 */
export function show(found, { focus }) {
  const main = document.querySelector("main");
  if (!main || !found.main) {
    location.reload();
    return;
  }
  main.replaceWith(document.adoptNode(found.main));
  document.title = found.title;
  const heading = document.querySelector("main h1");
  if (focus && heading instanceof HTMLElement) heading.focus();
  document.dispatchEvent(new Event("lyceum:shown"));
}

/** @param {number} milliseconds */
export function pause(milliseconds) {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
