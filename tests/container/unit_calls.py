#!/usr/bin/env python3
"""The system calls that config/layover.service allows, as a seccomp profile of Docker.

    tests/container/unit_calls.py config/layover.service >profile.json

Any other call ends the process, where the unit would refuse it: so a test notices.
"""

import json
import subprocess
import sys

RIGHTS = "SystemCallFilter="


def sets():
    """What systemd means by its names of sets, each with the sets inside it."""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], check=True,
                          capture_output=True, text=True).stdout
    found, name = {}, None
    for line in text.splitlines():
        word = line.strip()
        if line.startswith("@"):
            name = word
            found[name] = set()
        elif name and line.startswith("    "):
            if not word.startswith("#"):
                found[name].add(word)
        elif word:
            # What belongs to no set.
            name = None
    return found


def calls(words, known):
    names = set()
    for word in words:
        names |= calls(known[word], known) if word.startswith("@") else {word}
    return names


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    known, allowed = sets(), set()
    with open(sys.argv[1], encoding="utf-8") as unit:
        rules = [line.strip().removeprefix(RIGHTS) for line in unit if line.startswith(RIGHTS)]
    if not rules or rules[0].startswith("~"):
        sys.exit("the unit does not begin with what it allows")
    # In their order, as systemd.exec(5) says.
    for rule in rules:
        names = calls(rule.removeprefix("~").split(), known)
        allowed = allowed - names if rule.startswith("~") else allowed | names
    json.dump({
        "defaultAction": "SCMP_ACT_KILL_PROCESS",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64"}, {"architecture": "SCMP_ARCH_AARCH64"}],
        "syscalls": [{"names": sorted(allowed), "action": "SCMP_ACT_ALLOW"}],
    }, sys.stdout)


if __name__ == "__main__":
    main()
