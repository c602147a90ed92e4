// What somebody finds out about others who work on the same machine.

/**
 * Code in Python, to run in somebody's kernel: it prints what could be seen that should not be, or `nothing`. `sockets` are
 * those of all servers, by paths below `/run/lyceum-servers`.
 */
export function spyOn(sockets) {
  return SPY.replace("SOCKETS", JSON.stringify(sockets));
}

const SPY = `
import glob, os, socket, subprocess
me = os.getuid()
seen = []
def tried(what, act):
    try:
        found = act()
    except Exception:
        return
    if found:
        seen.append(f"{what}: {found!r}"[:300])
others = [name for name in os.listdir("/home") if os.stat(f"/home/{name}").st_uid != me]
assert others, "there is nobody else"
for name in others:
    tried(f"home of {name}", lambda: os.listdir(f"/home/{name}"))
    tried(f"file of {name}", lambda: open(f"/home/{name}/secret.txt").read())
tried("folders of servers", lambda: os.listdir("/run/lyceum-servers"))
for path in SOCKETS:
    if os.stat("/run/lyceum-servers/" + path.split("/")[0]).st_uid == me:
        continue
    folder = os.path.dirname(f"/run/lyceum-servers/{path}")
    tried(f"folder {folder}", lambda: os.listdir(folder))
    def connect():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(f"/run/lyceum-servers/{path}")
            return path
    tried(f"socket {path}", connect)
for path in ["/run/lyceum-broker/broker.sock", "/run/lyceum/admin.sock"]:
    def connect():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(path)
            return path
    tried("socket", connect)
for path in ["/etc/lyceum/lyceum.toml", "/etc/shadow", "/var/lib/lyceum/lyceum.sqlite"]:
    tried("file", lambda: open(path).read(10))
for path in ["/var/lib/lyceum", "/run/lyceum", "/run/lyceum-broker/servers", "/run/lyceum-broker/environments"]:
    tried("folder", lambda: os.listdir(path))
for pid in filter(str.isdigit, os.listdir("/proc")):
    def of_others():
        return os.stat(f"/proc/{pid}").st_uid != me and open(f"/proc/{pid}/cmdline", "rb").read()
    tried(f"arguments of {pid}", of_others)
    def environment():
        return os.stat(f"/proc/{pid}").st_uid != me and open(f"/proc/{pid}/environ", "rb").read()
    tried(f"environment of {pid}", environment)
for words in (["sudo", "-n", "id"], ["su", "-c", "id"]):
    tried(" ".join(words), lambda: subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, timeout=20).stdout)
for command in ("ps -eo user:32,args", "systemctl show 'lyceum-*' --property=Environment,EnvironmentFiles"):
    text = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
    tried(command, lambda: [line for line in text.splitlines() if "JUPYTERHUB_API_TOKEN" in line])
print("\\n".join(seen) or "nothing")
`;
