// A course with nbgrader, and shared data: each sees in the own server what belongs to the role, and finds the data.

import assert from "node:assert/strict";

import { ByHand } from "./lib/by-hand.mjs";
import { foldersOf } from "./lib/host.mjs";
import { freePort } from "./lib/ports.mjs";
import { scenario } from "./lib/scenario.mjs";
import { environmentWithNbgrader } from "./lib/serve.mjs";
import { until } from "./lib/wait.mjs";

/** Teaches, attends, and has nothing to do with the course. */
const names = ["tina", "ada", "uwe"];
const passwordOf = (name) => `the password of ${name}`;
const course = "stats-2026";
const configuration = (environment) => `
[auth]
kind = "pam"
[access]
allow_all = true
[spawner]
kind = "process"
run_as = "user"
command = ["${environment}/bin/jupyterhub-singleuser"]
path = ["${environment}/bin", "/usr/local/bin", "/usr/bin", "/bin"]
stop_timeout = "5s"
[shared.nltk]
variable = "NLTK_DATA"
[shared.edu]
path = "/net/down/edu"
link = "edu"
`;

/** A mirror of NLTK's data, of our own making, in the folder of the process. */
const mirror = `
import hashlib, os, zipfile
os.makedirs("packages/tokenizers")
name = "packages/tokenizers/punkt.zip"
with zipfile.ZipFile(name, "w") as file:
    file.writestr("punkt/PY3/czech.pickle", "czech")
data = open(name, "rb").read()
open("index.xml", "w").write(f'''<?xml version="1.0"?>
<nltk_data><packages>
<package id="punkt" subdir="tokenizers" unzip="1" size="{len(data)}" unzipped_size="5"
  checksum="{hashlib.md5(data).hexdigest()}" url="https://raw.example.org/packages/tokenizers/punkt.zip"/>
</packages></nltk_data>''')
`;

/** What JupyterLab's page is told to leave out. */
const hiddenOf = (html) => {
  const data = /<script id="jupyter-config-data" type="application\/json">(.*?)<\/script>/s.exec(html)[1];
  const { disabledExtensions } = JSON.parse(data);
  const all = disabledExtensions.filter((name) => name.startsWith("@jupyter/nbgrader:"));
  return all.map((name) => name.split(":")[1]).sort();
};

scenario("a course shows to each what belongs to the role, and kernels find shared data", async ({ step, host: boot }) => {
  const environment = environmentWithNbgrader();
  const host = await step("start a machine", () => boot({ bare: true, folders: foldersOf(environment) }));
  const hub = await step("install", async () => {
    await host.addUsers(names, passwordOf);
    return ByHand.install(host, configuration(environment));
  });
  await step("data comes from a mirror", async () => {
    const port = await freePort();
    await host.write("/root/mirror.py", mirror, "600");
    await host.shell("mkdir /root/mirror; cd /root/mirror; python3 ../mirror.py");
    const serving = `echo $$ > /root/mirror.pid; cd /root/mirror; exec python3 -m http.server --bind 127.0.0.1 ${port}`;
    const server = host.start("sh", "-c", serving);
    const from = `http://127.0.0.1:${port}/`;
    await until("the mirror answers", async () => (await fetch(from)).ok, 20_000, 100);
    await host.run("lyceum", "data", "add", "nltk", "punkt", "--from", from);
    const again = await host.run("lyceum", "data", "add", "nltk", "punkt", "--from", from);
    assert.match(again, /has all of it already/);
    const ended = new Promise((done) => server.on("exit", done));
    await host.shell("kill $(cat /root/mirror.pid)");
    await ended;
  });
  await step("a course is made, and once is enough", async () => {
    const add = ["lyceum", "course", "add", course, "--teachers", "tina", "--students", "ada", "--language", "cs"];
    await host.run(...add);
    assert.match(await host.run(...add), /is so already/);
  });
  await step("start", () => hub.start());

  const people = names.map((name) => hub.person(name, passwordOf(name)));
  const [tina, ada, uwe] = people;
  await step("kernels find data, and homes show what is shared, though it does not answer", async () => {
    const code = "import nltk, os; print(nltk.data.find('tokenizers/punkt'), os.readlink('edu'))";
    await Promise.all(people.map((person) => person.mustLogIn()));
    for (const person of people) {
      assert.equal(await person.compute(code), "/srv/lyceum/data/nltk/tokenizers/punkt /net/down/edu");
    }
  });
  await step("JupyterLab shows to each what belongs to the role", async () => {
    const pages = await Promise.all(people.map((person) => person.go(`${person.base()}lab`)));
    const [teachers, students, others] = pages.map(({ body }) => hiddenOf(body));
    assert.deepEqual(teachers, []);
    assert.deepEqual(students, ["course-list", "create-assignment", "formgrader"]);
    assert.equal(others.length, 6, others.join());
  });
  await step("the formgrader is in no server but a teacher's", async () => {
    const statuses = await Promise.all(
      people.map(async (person) => [
        (await person.inServer("GET", "formgrader/api/assignments")).status,
        (await person.inServer("GET", "assignments?course_id=")).status,
      ]),
    );
    assert.deepEqual(statuses, [
      [200, 200],
      [404, 200],
      [404, 404],
    ]);
  });
  await step("the teacher's home leads to the course, and the formgrader is in it", async () => {
    const kernel = await tina.startKernel();
    try {
      const code = `import os; print(os.readlink("course-${course}"), sorted(os.listdir("course-${course}"))[0])`;
      assert.equal(await kernel.run(code), `/srv/lyceum/courses/${course} autograded`);
    } finally {
      kernel.close();
    }
    const page = await tina.go(`${tina.base()}formgrader/manage_assignments`);
    assert.equal(page.status, 200);
    assert.ok(page.body.includes(`course-${course}`), page.body.slice(0, 2000));
  });
  await step("stop", () => Promise.all([tina, ada, uwe].map((person) => person.stopServer())));
});
