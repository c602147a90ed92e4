#!/bin/bash
# Test hosts: whole Debian systems with a real systemd as their first process, each made anew in about a second.
#
#   host.sh base                      makes what all hosts begin with, once
#   host.sh boot NAME [OPTION…]       boots a new one; OPTIONs are those of systemd-nspawn, such as --bind-ro=FOLDER
#   host.sh bare NAME [OPTION…]       the same without systemd: nothing runs in it but a first process that does nothing
#   host.sh run NAME COMMAND…         runs a command in it, as root, with an environment of its own
#   host.sh put NAME FILE PATH MODE   copies a file into it
#   host.sh reboot NAME               has it reboot in order; waits until it is up again
#   host.sh crash NAME                ends all that runs in it at once, as a power cut does, and boots it from its disk
#   host.sh off NAME                  ends it, and removes all that it was
#   host.sh list                      tells which ones there are
#   host.sh sweep                     ends those whose owner is gone: the process in LYCEUM_HOST_OWNER, or the caller
#
# It runs as root on any machine, whatever its own first process. A host has its own processes, files, users and cgroups.
# It shares the network: what listens on 127.0.0.1 in it is reached from outside, so ports are chosen to be free.
# Its disk is an overlay in memory, mounted where only the host itself sees it: when its processes are gone, so is that.
# LYCEUM_TEST_HOSTS is the folder with the base and with notes on what runs; by default below target/.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hosts=${LYCEUM_TEST_HOSTS:-$here/../../target/test-env/hosts}
mkdir -p "$hosts/running"
hosts=$(cd "$hosts" && pwd)
base=$hosts/base
suite=bookworm
packages=systemd,systemd-sysv,dbus,libpam-systemd,libpam-modules,libnss-systemd,passwd,login,sudo,procps,acl,quota,ca-certificates,python3
# A change of what is in the base makes it anew.
recipe="4 $suite $packages"
up_limit=60
down_limit=20

say() { echo "host.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

[ "$(id -u)" = 0 ] || fail "only root can boot hosts"

# --- the base -------------------------------------------------------------------------------------------------------

base() {
  exec 9>"$hosts/base.lock"
  # Whoever comes second waits, and then finds it made.
  flock --timeout 900 9 || fail "the base is being made by another process, which does not come to an end"
  [ "$(cat "$base.recipe" 2>/dev/null || true)" = "$recipe" ] && return 0
  command -v mmdebstrap >/dev/null && command -v systemd-nspawn >/dev/null ||
    fail "install mmdebstrap and systemd-container"
  rm -rf "$base" "$base.recipe" "$base.new"
  # Documentation and translations are half of the files, and nobody reads them here.
  TMPDIR=$hosts mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$base.new" "$(mirror)" >&2
  furnish "$base.new"
  mv "$base.new" "$base"
  echo "$recipe" > "$base.recipe"
}

# The machine's own mirror of Debian, in the one-line format.
mirror() {
  local file uri
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
    [ -f "$file" ] || continue
    uri=$(sed -nE 's#^(URIs:|deb( +\[[^]]*\])?) *(https?://[^ ]+/debian)/?( .*)?$#\3#p' "$file" | head -1)
    [ -z "$uri" ] || { echo "deb $uri $suite main"; return; }
  done
  echo "deb http://deb.debian.org/debian $suite main"
}

# Makes a system of it that boots quickly, and that can reach what the machine can reach.
furnish() {
  local root=$1 unit
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' > "$root/etc/hosts"
  : > "$root/etc/machine-id"
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
    dpkg-db-backup.timer quotaon.service quotacheck.service systemd-firstboot.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
  # The journal stays in memory with the rest, but must outlive a reboot.
  mkdir -p "$root/var/log/journal" "$root/etc/systemd/journald.conf.d"
  printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n' > "$root/etc/systemd/journald.conf.d/host.conf"
  cat > "$root/usr/sbin/host-init" <<'INIT'
#!/bin/sh
# Controllers of the first version of cgroups arrive read-only; systemd inside needs them for limits.
for folder in /sys/fs/cgroup/*/; do
  mount -o remount,rw,bind "$folder" 2>/dev/null || true
done
exec /lib/systemd/systemd
INIT
  chmod 755 "$root/usr/sbin/host-init"
}

# --- cgroups --------------------------------------------------------------------------------------------------------

# The folders where hierarchies are mounted: one with the second version of cgroups, many with the first.
hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

# Moves this very shell into cgroups of the host.
enter_cgroups() {
  local name=$1 folder group
  for folder in $(hierarchies); do
    group=$folder/lyceum-host-$name
    mkdir -p "$group"
    if [ -e "$group/cpuset.cpus" ] && [ -e "$group/cgroup.clone_children" ]; then
      # Without processors and memory, nothing may enter.
      cat "$folder/cpuset.cpus" > "$group/cpuset.cpus"
      cat "$folder/cpuset.mems" > "$group/cpuset.mems"
      echo 1 > "$group/cgroup.clone_children"
    fi
    echo "$BASHPID" > "$group/cgroup.procs"
  done
}

# Kills what is left in a host's cgroups, and removes them.
remove_cgroups() {
  local name=$1 folder group round
  for folder in $(hierarchies); do
    group=$folder/lyceum-host-$name
    [ -d "$group" ] || continue
    for round in $(seq 100); do
      find "$group" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      [ -d "$group" ] || break
      sleep 0.05
    done
    [ ! -d "$group" ] || say "$group could not be removed"
  done
}

# --- a host ---------------------------------------------------------------------------------------------------------

# The process that looks after a host, if it lives; a number alone may be another's by now.
keeper() {
  local pid started
  read -r pid started 2>/dev/null < "$hosts/running/$1/keeper" || return 1
  [ "$(start_of "$pid")" = "$started" ] && echo "$pid"
}

# When a process has started.
start_of() { sed -E 's/^.*\) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# The host's first process, as the machine sees it.
first() {
  local keeper nspawn
  keeper=$(keeper "$1") || return 1
  nspawn=$(pgrep -P "$keeper" -x systemd-nspawn) || return 1
  pgrep -P "$nspawn" | head -1 | grep .
}

inside() {
  local first
  first=$(first "$1") || fail "there is no host $1, or it is down"
  shift
  exec nsenter --target "$first" --all -- /usr/bin/env -i HOME=/root LANG=C.UTF-8 USER=root \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# Waits until the host is up, with another first process than the one before.
wait_up() {
  local name=$1 before=${2:-} deadline=$((SECONDS + up_limit)) first state=
  while [ "$SECONDS" -lt "$deadline" ]; do
    keeper "$name" >/dev/null || { tail -20 "$hosts/running/$name/console" >&2; fail "$name has ended while it was booting"; }
    first=$(first "$name" || true)
    if [ -n "$first" ] && [ "$first" != "$before" ]; then
      if [ -e "$hosts/running/$name/bare" ]; then
        (inside "$name" test -e /run/host-is-up 2>/dev/null) && return 0
        sleep 0.05
        continue
      fi
      # It ends with another status than 0 unless all is well.
      state=$(inside "$name" systemctl is-system-running 2>/dev/null) || true
      case $state in
        running) return 0 ;;
        degraded)
          say "$name is up, but some units have failed"
          (inside "$name" systemctl --failed --no-pager --plain >&2) || true
          return 0
          ;;
      esac
    fi
    sleep 0.05
  done
  tail -20 "$hosts/running/$name/console" >&2
  fail "$name is not up after $up_limit s (${state:-no systemd})"
}

# Looks after one host from its boot to its end, in a mount namespace of its own.
keep() {
  local name=$1 folder=$hosts/running/$1 status
  shift
  mount -t tmpfs -o mode=755,size=6g lyceum-host "$folder/disk"
  mkdir "$folder/disk/upper" "$folder/disk/work" "$folder/disk/root"
  mount -t overlay -o "lowerdir=$base,upperdir=$folder/disk/upper,workdir=$folder/disk/work" lyceum-host "$folder/disk/root"
  echo "$name" > "$folder/disk/root/etc/hostname"
  echo "127.0.1.1 $name" >> "$folder/disk/root/etc/hosts"
  local init=(/usr/sbin/host-init)
  if [ -e "$folder/bare" ]; then
    sed 's#^exec .*#touch /run/host-is-up\nexec sleep infinity#' "$base/usr/sbin/host-init" > "$folder/disk/root/usr/sbin/bare-init"
    chmod 755 "$folder/disk/root/usr/sbin/bare-init"
    # Its first process is nspawn's own, which buries the dead.
    init=(--as-pid2 /usr/sbin/bare-init)
  fi
  # nspawn cleans up in its own folder only where that is a mount.
  mkdir -p /run/systemd/nspawn
  mount -t tmpfs -o mode=755 lyceum-host /run/systemd/nspawn
  while :; do
    status=0
    systemd-nspawn --quiet --register=no --keep-unit --console=pipe --kill-signal=SIGRTMIN+3 --capability=all \
      --rlimit=RLIMIT_NOFILE=1024:524288 \
      --hostname="$name" --machine="$name" --directory="$folder/disk/root" "$@" "${init[@]}" || status=$?
    # 133 is a reboot from inside; after a power cut somebody has asked for another start.
    [ "$status" = 133 ] || [ -e "$folder/again" ] || exit "$status"
    rm -f "$folder/again"
  done
}

bare() { boot_as bare "$@"; }
boot() { boot_as systemd "$@"; }

boot_as() {
  local kind=$1 name=$2 folder=$hosts/running/$2
  shift 2
  [[ $name =~ ^[a-z][a-z0-9-]{0,30}$ ]] || fail "\`$name\` cannot be the name of a host"
  sweep
  base
  mkdir "$folder" 2>/dev/null || fail "there is a host $name already"
  mkdir "$folder/disk"
  [ "$kind" = systemd ] || touch "$folder/$kind"
  local owner=${LYCEUM_HOST_OWNER:-$PPID}
  echo "$owner $(start_of "$owner")" > "$folder/owner"
  # The lock on the base is not for those who live long.
  (
    local me
    enter_cgroups "$name"
    me=$BASHPID
    echo "$me $(start_of "$me")" > "$folder/keeper"
    exec setsid unshare --mount --propagation private "$here/host.sh" keep "$name" "$@" \
      </dev/null >"$folder/console" 2>&1 9>&-
  ) &
  local deadline=$((SECONDS + 5))
  until [ -s "$folder/keeper" ] || [ "$SECONDS" -ge "$deadline" ]; do sleep 0.01; done
  if ! (wait_up "$name"); then
    off "$name"
    exit 1
  fi
}

reboot() {
  local before
  before=$(first "$1") || fail "there is no host $1, or it is down"
  [ ! -e "$hosts/running/$1/bare" ] || fail "$1 has no systemd that could reboot it"
  (inside "$1" systemctl reboot) || true
  wait_up "$1" "$before"
}

crash() {
  local before
  before=$(first "$1") || fail "there is no host $1, or it is down"
  touch "$hosts/running/$1/again"
  kill -KILL "$before"
  wait_up "$1" "$before"
}

off() {
  local name=$1 folder=$hosts/running/$1 first keeper deadline=$((SECONDS + down_limit))
  [ -d "$folder" ] || return 0
  rm -f "$folder/again"
  if keeper=$(keeper "$name"); then
    # What `poweroff` asks of systemd.
    if first=$(first "$name"); then kill -s RTMIN+4 "$first" 2>/dev/null || true; fi
    while keeper "$name" >/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.05; done
    if keeper "$name" >/dev/null; then
      say "$name did not power off in $down_limit s"
      kill -KILL "$keeper" 2>/dev/null || true
    fi
  fi
  remove_cgroups "$name"
  [ -z "${LYCEUM_HOST_CONSOLE:-}" ] || cp "$folder/console" "$LYCEUM_HOST_CONSOLE"
  rm -rf "$folder"
}

sweep() {
  local folder name owner started
  for folder in "$hosts"/running/*/; do
    [ -d "$folder" ] || continue
    name=$(basename "$folder")
    read -r owner started 2>/dev/null < "$folder/owner" || { owner=; started=; }
    # One that has no owner yet is being made this moment, unless it is old.
    [ -n "$owner" ] || [ -n "$(find "$folder" -maxdepth 0 -mmin +2)" ] || continue
    [ -n "$owner" ] && [ "$(start_of "$owner")" = "$started" ] && continue
    say "$name has lost its owner, and is ended"
    off "$name"
  done
}

list() {
  local folder name
  for folder in "$hosts"/running/*/; do
    [ -d "$folder" ] || continue
    name=$(basename "$folder")
    echo "$name $(first "$name" || echo down)"
  done
}

put() {
  # Through the host's own eyes, so that no link in it leads out of it.
  inside "$1" /bin/sh -c 'mkdir -p "$(dirname "$1")" && cat > "$1.new" && chmod "$2" "$1.new" && mv "$1.new" "$1"' \
    put "$3" "$4" < "$2"
}

command=${1:-}
shift || true
case $command in
  base | sweep | list) "$command" ;;
  boot | bare | keep) [ $# -ge 1 ] || fail "$command needs the name of a host"; "$command" "$@" ;;
  reboot | crash | off) [ $# = 1 ] || fail "$command needs the name of a host"; "$command" "$@" ;;
  run) [ $# -ge 2 ] || fail "run needs the name of a host and a command"; inside "$@" ;;
  put) [ $# = 4 ] || fail "put needs the name of a host, a file, a path and a mode"; put "$@" ;;
  *) sed -n '2,21p' "$here/host.sh" | sed 's/^# \{0,1\}//' >&2; exit 2 ;;
esac
