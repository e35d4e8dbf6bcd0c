"""Hosts on one machine: Linux namespaces, each with a network, a host name and shared memory of its own, on a bridge.

A host is alive as long as its holder, a shell, has something to read from this program. The holder then ends whatever
runs on the host, and with the last process the kernel removes the namespaces, with their links. So nothing is left
behind, however this program ends, and nothing of the machine's own network is touched.
"""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

NEEDED = {"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux", "mount": "mount"}
"""The programs that hosts are made of, each with the package that it comes in."""
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
NETWORK = "10.77.0"
"""The first three numbers of every host's address."""
HEADERS = 66
"""The bytes of a packet's headers: 14 of Ethernet, 20 of IP, 32 of TCP with its time stamps."""
HOLD = """
[ ! -d /proc/sys/net/ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6
ip link set lo up && mount -t tmpfs shm /dev/shm && mount --bind "$2" /etc/hosts &&
    echo "$1" >/proc/sys/kernel/hostname && echo up && cat >/dev/null
own=$(readlink /proc/$$/ns/net)
for process in /proc/[0-9]*; do
    [ "${process#/proc/}" = $$ ] || [ "$(readlink "$process/ns/net" 2>/dev/null)" != "$own" ] ||
        kill -9 "${process#/proc/}" 2>/dev/null
done
"""
"""What a holder does: $1 is the host's name, $2 the file of all hosts' addresses."""


class MissingError(Exception):
    """This machine has no hosts to give; the message says what is missing."""


class Sent(NamedTuple):
    """What an interface has sent since it was made: bytes, headers among them, and packets."""

    bytes: int
    packets: int

    def since(self, before: "Sent") -> "Sent":
        return Sent(self.bytes - before.bytes, self.packets - before.packets)

    @property
    def content(self) -> int:
        """The bytes without headers."""
        return self.bytes - HEADERS * self.packets


@dataclass(frozen=True)
class Space:
    """A network namespace, with the shell that holds it."""

    name: str
    holder: "subprocess.Popen[str]" = field(repr=False)

    def command(self, *words: object) -> list[str]:
        """The command that runs these words inside."""
        return ["nsenter", "-t", str(self.holder.pid), "-n", "-u", "-i", "-m", f"--wd={Path.cwd()}", *map(str, words)]

    def run(self, *words: object) -> None:
        """Run these words inside; raises MissingError where they fail."""
        _run(self.command(*words))


@dataclass(frozen=True)
class Host(Space):
    """One of the hosts.

    name: that the other hosts know it by.
    address: of its interface eth0.
    switch: what joins the hosts; its port has the host's name.
    """

    address: str
    switch: Space = field(repr=False)

    def cut(self) -> None:
        """Pull the host's plug out of the switch: the host has no carrier."""
        self.switch.run("ip", "link", "set", self.name, "down")

    def mend(self) -> None:
        """Put the plug back."""
        self.switch.run("ip", "link", "set", self.name, "up")

    @property
    def sent(self) -> Sent:
        """What the host has sent to others so far."""
        for line in Path(f"/proc/{self.holder.pid}/net/dev").read_text(encoding="ascii").splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == "eth0":
                counted = numbers.split()
                return Sent(int(counted[8]), int(counted[9]))
        raise MissingError(f"the host {self.name} has no interface eth0")

    def processes(self) -> list[int]:
        """The processes on this host, but for its holder."""
        own, found = _network(Path(f"/proc/{self.holder.pid}")), []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                here = _network(folder) == own
                status = (folder / "status").read_text(encoding="utf-8", errors="replace")
            except OSError:  # the process has ended meanwhile
                continue
            held = folder.name == str(self.holder.pid) or f"\nPPid:\t{self.holder.pid}\n" in status
            if here and not held:
                found.append(int(folder.name))
        return found


def _network(folder: Path) -> Path:
    """The network namespace of a process, by its folder of /proc; OSError where the process has ended."""
    return (folder / "ns" / "net").readlink()


def as_ssh(made: list[Host], path: Path) -> Path:
    """Write a program that stands in for ssh: `PROGRAM -x HOST COMMAND` runs a command on one of these hosts.

    made: the hosts.
    path: where to write the program.
    Returns the path.
    """
    cases = "".join(f'{host.name}) set -- {shlex.join(host.command())} -- sh -c "$*" ;;\n' for host in made)
    path.write_text(f'#!/bin/sh\n[ "$1" != -x ] || shift\nname=$1\nshift\ncase $name in\n{cases}esac\nexec "$@"\n')
    path.chmod(0o755)
    return path


def check_machine() -> None:
    """Raise MissingError, which says what is missing, unless this machine can make hosts."""
    if sys.platform != "linux":
        raise MissingError(f"network namespaces are Linux's, and this is {sys.platform}")
    missing = [f"{name} (package {package})" for name, package in NEEDED.items() if shutil.which(name) is None]
    if missing:
        raise MissingError(f"network namespaces are made by programs that are not here: {', '.join(missing)}")
    if os.geteuid() != 0:
        raise MissingError("network namespaces are made by root, and this user is not: try sudo")


@contextmanager
def hosts(count: int) -> Iterator[list[Host]]:
    """So many hosts that reach one another by name, and nobody else; they end with the block.

    count: from 2 to 8.
    Raises MissingError where this machine has none to give.
    """
    check_machine()
    if not 2 <= count <= len(NAMES):
        raise ValueError(f"count must be from 2 to {len(NAMES)}, got {count}")
    names = NAMES[:count]
    addresses = {name: f"{NETWORK}.{number}" for number, name in enumerate(names, start=1)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="npsnn-hosts-")))
        known = folder / "hosts"
        lines = [f"{address} {name}\n" for name, address in ({"localhost": "127.0.0.1"} | addresses).items()]
        known.write_text("".join(lines), encoding="ascii")
        switch = Space("switch", stack.enter_context(_holder("switch", known)))
        switch.run("ip", "link", "add", "bridge", "type", "bridge")
        switch.run("ip", "link", "set", "bridge", "up")
        made = []
        for name, address in addresses.items():
            host = Host(name, stack.enter_context(_holder(name, known)), address, switch)
            peer = ("peer", "name", "eth0", "netns", host.holder.pid)
            switch.run("ip", "link", "add", name, "type", "veth", *peer)
            switch.run("ip", "link", "set", name, "master", "bridge", "up")
            host.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
            host.run("ip", "link", "set", "eth0", "up")
            made.append(host)
        yield made


@contextmanager
def _holder(name: str, known: Path) -> Iterator["subprocess.Popen[str]"]:
    """The shell that holds new namespaces, which end with the block."""
    command = ["unshare", "--net", "--uts", "--ipc", "--mount", "sh", "-c", HOLD, "sh", name, str(known)]
    pipe = subprocess.PIPE
    holder = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    assert holder.stdin and holder.stdout and holder.stderr, "all three are pipes"
    try:
        if holder.stdout.readline() != "up\n":
            said = " ".join(holder.stderr.read().split())
            raise MissingError(f"this system gives root no namespaces: {said or 'unshare ended'}")
        yield holder
    finally:
        holder.stdin.close()
        holder.wait()
        holder.stdout.close()
        holder.stderr.close()


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise MissingError(f"{' '.join(command[7:])} failed: {said}")
