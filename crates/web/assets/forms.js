// Forms: nothing is sent twice, and a password can be looked at. Listens on the document, so that forms
// that come later are served too.

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || !("once" in form.dataset)) return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  form.dataset.sent = "true";
  event.submitter?.setAttribute("aria-busy", "true");
});

// Coming back by the Back button shows the page as it was left: make its forms usable again.
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-reveal]") : null;
  if (!(button instanceof HTMLElement)) return;
  const field = document.getElementById(button.dataset.reveal ?? "");
  if (!(field instanceof HTMLInputElement)) return;
  const reveal = field.type === "password";
  field.type = reveal ? "text" : "password";
  button.setAttribute("aria-pressed", String(reveal));
});

for (const button of document.querySelectorAll("[data-reveal]")) button.removeAttribute("hidden");
