// Certificates that tests make with openssl: authorities of their own, and what these vouch for.

import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { newFolder } from "./folders.mjs";

const run = promisify(execFile);

/** Options of `openssl req` for each kind of key. */
const KEYS = {
  ecdsa: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
  rsa: ["-newkey", "rsa:2048"],
};

/** An authority that nobody knows but the tests. */
export class TestAuthority {
  /** Makes one, in a folder of its own. */
  static async make(name) {
    const authority = new TestAuthority();
    authority.folder = await newFolder(name);
    authority.file = join(authority.folder, "ca.pem");
    authority.key = join(authority.folder, "ca.key");
    await openssl("req", "-x509", "-nodes", ...KEYS.ecdsa, "-days", "30", ...out(authority.key, authority.file), "-subj", `/CN=${name}`);
    return authority;
  }

  /** Its own certificate, as PEM. */
  pem() {
    return readFile(this.file, "utf8");
  }

  /**
   * Makes a certificate for hosts (`names`, with `DNS:` or `IP:` in front), or for a person (`subject` alone); gives the
   * files `cert` and `key`.
   */
  async issue(file, { names = [], subject = "/CN=test", key = "ecdsa", days = 10 } = {}) {
    const made = { cert: join(this.folder, `${file}.pem`), key: join(this.folder, `${file}.key`) };
    const usage = names.length > 0 ? "serverAuth" : "clientAuth";
    const extensions = [`extendedKeyUsage=${usage}`, "basicConstraints=critical,CA:FALSE"];
    if (names.length > 0) extensions.push(`subjectAltName=${names.join(",")}`);
    const settings = join(this.folder, `${file}.cnf`);
    await writeFile(settings, `[req]\ndistinguished_name = dn\n[dn]\n[ext]\n${extensions.join("\n").replaceAll("=", " = ")}\n`);
    const signed = ["-CA", this.file, "-CAkey", this.key, "-config", settings, "-extensions", "ext"];
    await openssl("req", "-x509", "-nodes", ...KEYS[key], "-days", String(days), ...out(made.key, made.cert), "-subj", subject, ...signed);
    return made;
  }
}

function out(key, certificate) {
  return ["-keyout", key, "-out", certificate];
}

async function openssl(...words) {
  try {
    return await run("openssl", words);
  } catch (error) {
    throw new Error(`openssl 3 is needed (apt install openssl): ${error.stderr ?? error.message}`, { cause: error });
  }
}
