// Times in the reader's own zone and language: "5 minutes ago", with the exact time as a tooltip.

const language = document.documentElement.lang;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });

/** @type {[Intl.RelativeTimeFormatUnit, number][]} */
const units = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** @param {number} seconds negative in the past */
function inWords(seconds) {
  for (const [unit, length] of units) {
    if (Math.abs(seconds) >= length) return relative.format(Math.trunc(seconds / length), unit);
  }
  return relative.format(0, "second");
}

function update() {
  for (const element of document.querySelectorAll("time[data-relative]")) {
    const time = new Date(element.getAttribute("datetime") ?? "");
    if (Number.isNaN(time.valueOf())) continue;
    const seconds = (time.valueOf() - Date.now()) / 1000;
    // A clock that is a little off must not show the past as the future, or the other way round.
    const future = element.getAttribute("data-relative") === "future";
    const shown = future ? Math.max(seconds, 0) : Math.min(seconds, 0);
    const text = Math.abs(seconds) < 7 * 86400 ? inWords(shown) : exact.format(time);
    if (element.textContent !== text) element.textContent = text;
    element.setAttribute("title", exact.format(time));
  }
}

update();
setInterval(update, 20_000);
document.addEventListener("lyceum:shown", update);
