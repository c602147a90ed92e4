// Tells the people at a JupyterLab or Notebook page that their server is about to be stopped, and lets them keep it;
// what has happened to it; and that another version of its Python environment waits for its next start.
//
// Loaded by the page as the entry of a prebuilt extension (a container of module federation) without any plugin: it
// uses nothing of JupyterLab but its colours, so it works with every version that loads such extensions.

(() => {
  "use strict";

  const NAME = "@lyceum/notices";
  // How long to wait when the hub does not answer, or knows nothing of this server.
  const PAUSE_AFTER_TROUBLE = 300;

  const containers = (window._JUPYTERLAB ??= {});
  if (containers[NAME]) return;
  containers[NAME] = { init: () => {}, get: () => Promise.resolve(() => ({})) };

  /** Where the hub tells of this server: the page's own address says which it is. */
  function address() {
    let config = {};
    try {
      config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent || "{}");
    } catch {
      return null;
    }
    const match = /^(\/(?:.*\/)?)user\/([^/]+)\/(?:([^/]+)\/)?$/.exec(config.baseUrl ?? "");
    if (!match) return null;
    const [, base, user, server] = match;
    return `${base}hub/notices/servers/${user}${server ? `/${server}` : ""}`;
  }

  const url = address();
  if (!url) return;

  /** What the hub has said last. */
  let told = null;
  /** The instant of the stop, on this machine's clock. */
  let end = 0;
  /** The stop that the person does not want to hear of any more. */
  let dismissed = null;
  /** What has happened, and the person does not want to hear of any more. */
  let heard = null;
  /** Where it is kept which version of the environment was told of and put away: one is told of once. */
  const READ = `${NAME} python ${url}`;
  /** The same, where the browser keeps nothing. */
  let read = null;
  let timer = 0;
  let bar = null;

  async function call(method) {
    // The header shows that a page of this host asks.
    const options = { method, headers: { "X-Lyceum-Notices": "1" }, credentials: "same-origin", cache: "no-store" };
    const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(20_000) });
    if (!answer.ok) throw new Error(String(answer.status));
    return answer.json();
  }

  async function look(method = "GET") {
    clearTimeout(timer);
    let again = PAUSE_AFTER_TROUBLE;
    try {
      told = await call(method);
      again = Math.max(1, told.again);
      end = told.stop ? Date.now() + told.stop.seconds * 1000 : 0;
      show();
    } catch {
      // The hub is away for a moment, or this login has ended: what is shown stays, and its button can be tried again.
      if (method !== "GET") again = 5;
    }
    clearTimeout(timer);
    timer = setTimeout(tick, again * 1000);
  }

  /** Nobody reads a hidden page: it asks when it is shown again. */
  function tick() {
    if (document.visibilityState === "visible") look();
  }

  function show() {
    const stop = told?.stop?.at === dismissed ? null : told?.stop;
    const news = told?.news?.at === heard ? null : told?.news;
    const python = told?.python?.at === lastRead() ? null : told?.python;
    // What is about to happen is more urgent than what has happened, and all else can wait.
    const note = stop ?? news ?? python;
    if (!note) return hide();
    bar ??= build();
    bar.root.lang = told.language;
    // Only what cannot wait interrupts whoever has the page read aloud.
    bar.root.setAttribute("role", note === python ? "status" : "alert");
    write(bar.text, note.text.replace("{minutes}", String(Math.max(1, Math.ceil((end - Date.now()) / 60_000)))));
    write(bar.keep, note.keep ?? "");
    bar.keep.hidden = !note.keep;
    write(bar.dismiss, note.dismiss);
    bar.shown = note;
    if (!bar.root.isConnected) document.body.append(bar.root);
  }

  function lastRead() {
    try {
      return localStorage.getItem(READ) ?? read;
    } catch {
      return read;
    }
  }

  function putAway(at) {
    read = at;
    try {
      localStorage.setItem(READ, at);
    } catch {
      // Told again at the next visit, then.
    }
  }

  /** Writes a text if it is another: what is written is read aloud. */
  function write(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }

  function hide() {
    bar?.root.remove();
  }

  function build() {
    const root = document.createElement("div");
    root.id = "lyceum-notice";
    Object.assign(root.style, {
      position: "fixed",
      insetInline: "0",
      bottom: "0",
      zIndex: "20000",
      display: "flex",
      flexWrap: "wrap",
      gap: "0.75em",
      alignItems: "center",
      justifyContent: "center",
      padding: "0.75em 1em",
      font: "15px/1.4 system-ui, sans-serif",
      color: "#1f1400",
      background: "#ffd98a",
      borderTop: "2px solid #b26a00",
    });
    const text = document.createElement("span");
    const keep = button("#1f1400", "#ffffff");
    keep.addEventListener("click", () => look("POST"));
    const dismiss = button("transparent", "#1f1400");
    dismiss.addEventListener("click", () => {
      if (bar.shown === told?.python) putAway(bar.shown.at);
      else if (bar.shown === told?.news) heard = bar.shown.at;
      else dismissed = told?.stop?.at ?? null;
      show();
    });
    root.append(text, keep, dismiss);
    return { root, text, keep, dismiss };
  }

  function button(background, color) {
    const made = document.createElement("button");
    made.type = "button";
    Object.assign(made.style, {
      font: "inherit",
      padding: "0.35em 0.9em",
      border: "1px solid #1f1400",
      borderRadius: "4px",
      cursor: "pointer",
      background,
      color,
    });
    return made;
  }

  document.addEventListener("visibilitychange", tick);
  // The minutes go on between two questions.
  setInterval(() => told?.stop && document.visibilityState === "visible" && show(), 15_000);
  look();
})();
