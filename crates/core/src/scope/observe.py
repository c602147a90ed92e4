"""Writes observed.json: what JupyterHub's own functions answer, for the tests beside it to compare with.

Run it with a Python that has jupyterhub 6.1:  python3 observe.py > observed.json
"""

import itertools
import json
import logging
import random
import warnings

from jupyterhub import orm, roles, scopes

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
chance = random.Random(20261123)

db = orm.new_session_factory("sqlite:///:memory:")()
for role in roles.get_default_roles():
    db.add(orm.Role(name=role["name"], description=role["description"], scopes=role["scopes"]))
db.commit()

MEMBERS = {"class": ["ada", "bob"], "staff": ["eve"]}
groups = {name: orm.Group(name=name) for name in MEMBERS}
users = {name: orm.User(name=name) for name in ("ada", "bob", "eve")}
grader = orm.Service(name="grader")
db.add_all([*groups.values(), *users.values(), grader])
for group, members in MEMBERS.items():
    for member in members:
        users[member].groups.append(groups[group])
lab = orm.Spawner(user=users["ada"], name="lab")
db.add(lab)
clients = {
    "hub": orm.OAuthClient(identifier="jupyterhub", secret="", redirect_uri=""),
    "server": orm.OAuthClient(identifier="jupyterhub-user-ada-lab", secret="x", redirect_uri="/"),
    "service": orm.OAuthClient(identifier="service-grader", secret="x", redirect_uri="/"),
}
db.add_all(clients.values())
lab.oauth_client = clients["server"]
grader.oauth_client = clients["service"]
db.commit()
owners = {"ada": users["ada"], "bob": users["bob"], "service grader": grader, None: None}

BUILT_IN = list(scopes.scope_definitions)
FILTERS = ["!user=ada", "!user=bob", "!user=eve", "!server=ada/", "!server=ada/lab", "!server=bob/", "!server=eve/x",
           "!group=class", "!group=staff", "!service=grader"]
SHORT = ["!user", "!server", "!service"]
META = {"self", "inherit"}


def expand(raw, owner, client):
    return sorted(scopes.expand_scopes(raw, owner=owners[owner], oauth_client=clients.get(client)))


expansions = []


def add_expansion(raw, owner, client):
    expansions.append([raw, owner, client, expand(raw, owner, client)])


for name in BUILT_IN:
    add_expansion([name], "ada", None)
    if name not in META:
        add_expansion([f"{name}!server=ada/lab"], "ada", None)
for name in ("users", "servers", "shares", "access:services"):
    for filter_ in FILTERS + SHORT:
        for owner, client in itertools.product(owners, (None, "server", "service")):
            if filter_ in SHORT or (owner == "ada" and client is None):
                add_expansion([name + filter_], owner, client)
for owner in owners:
    add_expansion(["self"], owner, None)
    add_expansion(["self", "list:users", "read:users!user=bob", "read:users!group=class"], owner, "service")
for role in roles.get_default_roles():
    for owner in owners:
        add_expansion(role["scopes"], owner, "server")


def some(names, least, most):
    picked = set()
    for _ in range(chance.randint(least, most)):
        name = chance.choice(names)
        filter_ = "" if name in META or chance.random() < 0.15 else chance.choice(FILTERS)
        picked.add(name + filter_)
    return sorted(picked)


FEW = ["read:users:name", "read:servers", "servers", "access:servers", "read:groups"]
intersections = []
for _ in range(160):
    a, b = (scopes.expand_scopes(some(FEW, 1, 5)) for _ in range(2))
    both = scopes._intersect_expanded_scopes(a, b, db=db)
    intersections.append([sorted(a), sorted(b), sorted(both)])

checks = []
for _ in range(160):
    have = sorted(scopes.expand_scopes(some(FEW, 0, 3)))
    scope = chance.choice(FEW)
    filter_ = chance.choice(["", "!user=ada", "!user=eve", "!user=nobody", "!server=ada/lab", "!server=eve/x",
                             "!server=bob/", "!group=class", "!group=none", "!service=grader"])
    allowed = bool(scopes.has_scope(scope + filter_, frozenset(have), db=db))
    held = scope in scopes.parse_scopes(have)
    answer = "allowed" if allowed else "not-this-one" if filter_ and held else "denied"
    checks.append([have, scope, filter_, answer])

tokens = []
TOKEN_SCOPES = [["inherit"], [], ["self"], ["users:activity!user", "access:servers!server"], ["read:users"],
                ["admin:users", "read:users!group=class"], ["servers!user=bob"], ["servers!server=ada/lab", "tokens"],
                ["list:users", "access:services!service"], ["inherit", "shutdown"], ["(no_scope)"]]
ROLE_SETS = [["user"], ["user", "admin"], ["user", "class-reader"], [], ["token"]]
db.add(orm.Role(name="class-reader", scopes=["read:users!group=class", "list:users!group=class", "servers!group=class"]))
db.commit()
for role_names, raw, (owner_name, owner), client in itertools.product(
    ROLE_SETS, TOKEN_SCOPES, [("ada", users["ada"]), ("service grader", grader)], clients
):
    if owner is grader and (client == "server" or "user" in role_names):
        continue
    owner.roles = [orm.Role.find(db, name) for name in role_names]
    token = orm.APIToken(scopes=raw, oauth_client=clients[client], prefix="x", hashed="x")
    if owner is grader:
        token.service = owner
    else:
        token.user = owner
    with db.no_autoflush:
        db.add(token)
        db.flush()
        answer = sorted(scopes.get_scopes_for(token))
    tokens.append([sorted(scopes.roles.roles_to_scopes(owner.roles)), raw, owner_name, client, answer])
    db.delete(token)
    db.commit()

requests = []
for _ in range(80):
    names = FEW + ["inherit", "self", "read:users", "users:activity"]
    asked, held = some(names, 1, 4), some(names, 0, 4)
    if chance.random() < 0.3:
        asked.append("access:servers!server")
    if chance.random() < 0.3:
        asked.append("users:activity!user")
    # One scope is asked for at a time beyond the held ones: upstream's order is that of a set.
    wanting = [scope for scope in asked if scope not in held]
    asked = [scope for scope in asked if scope in held] + wanting[:1]
    granted, refused = scopes._resolve_requested_scopes(
        set(asked), set(held), users["ada"], clients["server"], db)
    requests.append([asked, held, sorted(granted), sorted(refused)])

print("{")
parts = {"expansions": expansions, "intersections": intersections, "checks": checks, "tokens": tokens, "requests": requests}
for at, (name, cases) in enumerate(parts.items()):
    lines = ",\n".join("  " + json.dumps(case) for case in cases)
    print(f'"{name}": [\n{lines}\n]' + ("," if at + 1 < len(parts) else ""))
print("}")
