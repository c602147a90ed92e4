// One story told by a test: its hub, its browser and its visitors are cleaned up, and pictures are kept if it fails.

import { describe, test } from "node:test";

import { Visitor, startBrowser } from "./browser.mjs";
import { Demo } from "./demo.mjs";
import { Host } from "./host.mjs";
import { Secure } from "./https.mjs";
import { JupyterHub } from "./jupyterhub.mjs";
import { Pebble } from "./pebble.mjs";
import { Proxy } from "./proxies.mjs";
import { Serve } from "./serve.mjs";
import { startSites } from "./sites.mjs";

/**
 * Declares a test. `story` gets `{ step, demo, visitor }`: `step(name, action)` names a part of it,
 * `demo(options)` starts `lyceum demo`, `serve(options)` starts `lyceum serve`, `visitor(hub, options)` opens a browser,
 * `jupyterhub(environment, settings, options)` prepares a JupyterHub, `proxy(kind, …)` starts a proxy, `app(starting)`
 * keeps an application until the end, `sites(sites, groups)` starts a gateway with such applications,
 * `secure(options)` starts `lyceum serve` with HTTPS, `pebble(options)` prepares an authority for its certificates.
 * `host(options)` boots a machine with systemd.
 * A visitor comes with `options.browser`, or with the one that all share; `keep(starting)` closes a browser at the end.
 */
export function scenario(name, story, limit = 10 * 60_000) {
  test(name, { timeout: limit }, async (context) => {
    const stage = new Stage(name, context);
    try {
      await story(stage);
    } catch (error) {
      await stage.keepPictures();
      throw error;
    } finally {
      await stage.clean();
    }
  });
}

/** Declares tests by `declare`, of which `number` run at a time: for those that wait more than they compute. */
export function atOnce(name, number, declare) {
  describe(name, { concurrency: number }, declare);
}

class Stage {
  demos = [];
  apps = [];
  visitors = [];
  browsers = [];
  /** What is there beside a Lyceum. */
  others = [];
  /** Machines with systemd. */
  hosts = [];

  constructor(name, context) {
    this.name = name.toLowerCase().replace(/[^a-z0-9]+/g, "-");
    this.context = context;
    this.step = this.step.bind(this);
    this.demo = this.demo.bind(this);
    this.serve = this.serve.bind(this);
    this.app = this.app.bind(this);
    this.sites = this.sites.bind(this);
    this.visitor = this.visitor.bind(this);
    this.jupyterhub = this.jupyterhub.bind(this);
    this.proxy = this.proxy.bind(this);
    this.secure = this.secure.bind(this);
    this.pebble = this.pebble.bind(this);
    this.keep = this.keep.bind(this);
    this.host = this.host.bind(this);
  }

  /** Does a part of the story; its name is in the report, and in the error if it fails. */
  async step(name, action) {
    const begun = Date.now();
    try {
      const result = await action();
      this.context.diagnostic(`${name}: ${((Date.now() - begun) / 1000).toFixed(1)} s`);
      return result;
    } catch (error) {
      throw new Error(`at the step “${name}”: ${error.message}`, { cause: error });
    }
  }

  async demo(options = {}) {
    const demo = await Demo.start(this.name, options);
    this.demos.push(demo);
    return demo;
  }

  async serve(options) {
    const serve = await Serve.start(this.name, options);
    this.demos.push(serve);
    return serve;
  }

  async app(starting) {
    const app = await starting;
    this.apps.push(app);
    return app;
  }

  async sites(sites, groups) {
    const front = await startSites(this, sites, groups);
    if (!this.demos.includes(front)) this.demos.push(front);
    return front;
  }

  async jupyterhub(environment, settings, options) {
    const hub = await JupyterHub.start(this.name, environment, settings, options);
    this.others.push(hub);
    return hub;
  }

  async proxy(...options) {
    const proxy = await Proxy.start(...options);
    this.others.push(proxy);
    return proxy;
  }

  async secure(options) {
    const secure = await Secure.start(this.name, options);
    this.demos.push(secure);
    return secure;
  }

  async pebble(options) {
    const pebble = await Pebble.prepare(options);
    this.others.push(pebble);
    return pebble;
  }

  async host(options) {
    const host = await Host.boot(options);
    this.hosts.push(host);
    return host;
  }

  async keep(starting) {
    const browser = await starting;
    this.browsers.push(browser);
    return browser;
  }

  async visitor(hub, options = {}) {
    if (!options.browser) this.browser ??= await startBrowser();
    const visitor = await Visitor.arrive(options.browser ?? this.browser, hub, options);
    this.visitors.push(visitor);
    return visitor;
  }

  async keepPictures() {
    for (const visitor of this.visitors) await visitor.keepPictures(this.name);
    for (const demo of this.demos) this.context.diagnostic(`output of lyceum demo: ${demo.dataFolder}.log`);
    for (const host of this.hosts) this.context.diagnostic(`journal of a host: ${host.folder}.journal`);
    for (const other of this.others) if (other.folder) this.context.diagnostic(`output of JupyterHub: ${other.folder}.log`);
  }

  async clean() {
    await this.browser?.close();
    for (const browser of this.browsers) await browser.close();
    for (const demo of this.demos) await demo.clean();
    for (const app of this.apps) await app.close();
    for (const other of this.others) await other.clean();
    for (const host of this.hosts) await host.off();
  }
}
