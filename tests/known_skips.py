#!/usr/bin/env python3
"""Fails when a test skips for a reason that is not known, or for one that does not hold on this machine.

known_skips.py REPORT.xml: what `ctest --output-junit REPORT.xml` wrote.
"""
import collections
import pathlib
import re
import sys
import xml.etree.ElementTree


def has_gpu():
    return pathlib.Path("/dev/nvidiactl").exists()


def cpu_lacks(flag):
    flags = re.search(r"^flags\s*:(.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    return not flags or flag not in flags[1].split()


def may_be():
    return True


# What a skip says, and when that is believed.
KNOWN = [
    (r"[Nn]o (NVIDIA )?(GPU|driver|CUDA device)|has no NVIDIA driver|needs CUDA|but no GPU|no GPU here"
     r"|NVIDIA's management library|older than compute capability", lambda: not has_gpu()),
    (r"there is a GPU|this machine has an NVIDIA driver", has_gpu),
    (r"not of compute capability 9|has not 5 GiB free|This machine has one GPU", has_gpu),
    (r"a device may round|a device keeps NaN|a kernel cannot throw|parts of a context depend", has_gpu),
    (r"this CPU has no AVX2", lambda: cpu_lacks("avx2")),
    (r"this CPU has no AVX-512 VNNI", lambda: cpu_lacks("avx512_vnni")),
    (r"this CPU has no AMX .*, or the system does not let it be used", may_be),
    (r"hwloc does not know this machine's nodes|this kernel does not show its cores", may_be),
    (r"no /proc/cpuinfo|The flags of the CPU", may_be),
    (r"free pages of 2 MiB \(vm\.nr_hugepages\)|this system lets nobody choose", may_be),
    (r"the sanitizer's own memory|lies in memory: there is no file cache|let the peak begin anew", may_be),
    (r"this process may use one CPU alone", may_be),
    (r"tokenizers/\S+ is not here", may_be),
]


def reason_of(output):
    """What stands behind "FILE:LINE: Skipped"; empty without a reason."""
    found = re.search(r"^\S+:\d+: Skipped\n(.*?)(?=^Google Test trace|^\[  SKIPPED)", output, re.M | re.S)
    return found[1].strip() if found else ""


def complaint(reason):
    if not reason:
        return "skipped without a reason"
    for pattern, holds in KNOWN:
        if re.search(pattern, reason):
            return None if holds() else f"skipped, but this machine has it: {reason}"
    return f"skipped for a reason that tests/known_skips.py does not know: {reason}"


def main():
    skipped = collections.Counter()
    failed = False
    for test in xml.etree.ElementTree.parse(sys.argv[1]).iter("testcase"):
        if test.get("status") != "notrun":
            continue
        reason = reason_of(test.findtext("system-out", ""))
        if wrong := complaint(reason):
            print(f"{test.get('name')}: {wrong}", file=sys.stderr)
            failed = True
        skipped[reason.splitlines()[0] if reason else ""] += 1
    for reason, count in skipped.items():
        print(f"{count} skipped: {reason}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
