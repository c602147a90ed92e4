// A program for `tls.acme.dns.command`, which changes the name server of Pebble: node dns-hook.mjs URL ACTION NAME VALUE.

const [url, action, name, value] = process.argv.slice(2);
const paths = { present: "/set-txt", cleanup: "/clear-txt" };
if (!(action in paths)) throw new Error(`unknown action ${action}`);
const body = JSON.stringify({ host: name.endsWith(".") ? name : `${name}.`, value });
const answer = await fetch(`${url}${paths[action]}`, { method: "POST", body, signal: AbortSignal.timeout(10_000) });
if (!answer.ok) throw new Error(`${action} for ${name}: ${answer.status}`);
