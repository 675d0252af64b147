# SPDX-License-Identifier: GPL-3.0-only
"""The images of the lab: which scripts make them, from what, and when they are made again.

An image is kept as long as its key is the same: the hash of its script, the files it uses, the versions of the
Debian packages in it, and the keys of the images it is made from. The key stands beside the image in `.key`.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess

from .common import IMAGES, LAB, PAYLOAD, PAYLOAD_IMAGE, SCRIPTS, SNAPSHOT, LabError, read_text, write_text

PAYLOAD_SIZE = 1 << 30  # of the disk; fixed, because a snapshot remembers it (the file is sparse)

LIBRARY = ["lib/images.sh"]
GUEST_FILES = ["images/files/guest-init", "images/files/guest-inittab", "images/files/guest-rc",
               "lib/programs.sh"]
# name: files it is made from, Debian packages whose versions count, images it is made from
RECIPES = {
    "kernel": (["images/kernel", "lib/vmlinux.py"], ["linux-image-amd64", "xen-hypervisor-4.17-amd64"], []),
    "dom0": (["images/dom0", "images/files/labinit", "images/files/dom0-inittab", "images/files/dom0-initramfs"],
             ["xen-utils-4.17", "libxenmisc4.17", "libc6", "dropbear-bin", "busybox-static"], ["kernel"]),
    "guest": (["images/guest", "images/files/nginx.conf", "images/files/guest-systemd", "lib/modules.sh", *GUEST_FILES],
              ["nginx", "busybox-static", "libc6", "libgcc-s1", "libssl3"], ["kernel"]),
    "logger": (["images/logger", *GUEST_FILES], ["busybox-static", "libc6", "libgcc-s1"], ["kernel"]),
    "servers": (["images/servers"],
                ["nginx-light", "apache2", "squid", "haproxy", "tinyproxy", "vsftpd", "python3-pyftpdlib", "proftpd-core", "pure-ftpd",
                 "curl", "wget", "aria2", "python3-requests", "apache2-utils", "lftp", "libc6"], []),
    "systemd": (["images/systemd", "../guest-driver/rxl-guest.service"], ["systemd-sysv", "kmod", "libc6"], []),
    "older": (["images/older", "lib/modules.sh", "lib/vmlinux.py"], ["linux-image-amd64"], ["kernel"]),
}
# Made only when somebody asks for it by its name.
ON_DEMAND = {"servers", "systemd", "older"}


def package_versions():
    """The versions apt would install now; asked again only when apt's lists or its installed set changed."""
    names = sorted({name for _, packages, _ in RECIPES.values() for name in packages})
    cache = os.path.join(LAB, "versions.json")
    stamp = [os.stat(path).st_mtime_ns if os.path.exists(path) else 0
             for path in ("/var/lib/apt/lists", "/var/lib/dpkg/status", "/etc/apt/sources.list", "/etc/apt/sources.list.d")]
    known = json.loads(read_text(cache) or "{}")
    if known.get("stamp") == stamp and sorted(known["versions"]) == names:
        return known["versions"]
    subprocess.run(["bash", "-c", f". {SCRIPTS}/lib/packages.sh; need_package_lists"], check=True)
    text = subprocess.run(["apt-cache", "policy", *names], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    versions, name = {}, ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            name = line.rstrip(":")
        elif line.startswith("  Candidate: "):
            versions[name] = line.split(": ", 1)[1]
    absent = [name for name in names if versions.get(name, "(none)") == "(none)"]
    if absent:
        raise LabError(f"apt does not know {', '.join(absent)}", hint="this needs Debian 12 (bookworm) sources; apt-get update")
    stamp[0] = os.stat("/var/lib/apt/lists").st_mtime_ns
    write_text(cache, json.dumps({"stamp": stamp, "versions": versions}))
    return versions


def key(name, versions):
    """The key of an image as its inputs are now."""
    files, packages, bases = RECIPES[name]
    digest = hashlib.sha256()
    for path in files + LIBRARY:
        with open(os.path.join(SCRIPTS, path), "rb") as file:
            digest.update(path.encode() + b"\0" + hashlib.sha256(file.read()).digest())
    for package in packages:
        digest.update(f"{package}={versions[package]}\n".encode())
    for base in bases:
        digest.update(key(base, versions).encode())
    return digest.hexdigest()


def ensure(say, force=False, names=()):
    """Makes the images that are missing or out of date, or those of them that are named; returns the key of what a snapshot holds
    (kernel and Dom0)."""
    os.makedirs(IMAGES, exist_ok=True)
    versions = package_versions()
    for name in names or [name for name in RECIPES if name not in ON_DEMAND]:
        now, stamp = key(name, versions), os.path.join(IMAGES, name, ".key")
        if force or read_text(stamp) != now:
            say(f"making image {name}")
            if name in ("kernel", "dom0") and os.path.exists(SNAPSHOT):
                os.unlink(SNAPSHOT)  # it builds on the old ones
            script(name, rebuild=True)
            write_text(stamp, now)
    if not names and not os.path.exists(os.path.join(IMAGES, "data", "web.img")):
        say("making image data")
        script("data")
    return key("dom0", versions)


def script(name, *arguments, rebuild=False):
    """Runs scripts/images/NAME; its messages go to this program's error stream."""
    environment = {**os.environ, "LAB_IMAGES": IMAGES, **({"LAB_REBUILD": "1"} if rebuild else {})}
    done = subprocess.run([os.path.join(SCRIPTS, "images", name), *arguments], check=False, env=environment,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise LabError(f"scripts/images/{name} failed (its messages are above)", hint=f"run scripts/images/{name} by itself")


# Where the parts of the payload come from; what else lies in the payload folder (bin/, say) goes along.
PARTS = {"guest/vmlinux": "kernel/vmlinux", "guest/initrd.img": "guest/initrd.img",
         "logger/initrd.img": "logger/initrd.img", "data/web.img": "data/web.img", "data/blob.sha256": "data/blob.sha256",
         "servers/servers.img": "servers/servers.img", "servers/key": "servers/.key",
         "older/vmlinux": "older/vmlinux", "older/modules.img": "older/modules.img", "older/version": "older/version",
         "older/key": "older/.key", "systemd/root.img": "systemd/root.img", "systemd/key": "systemd/.key"}


def payload(say):
    """Brings the payload disk up to date with images/ and payload/; returns whether it was made again."""
    for target, source in PARTS.items():
        if os.path.dirname(source) in ON_DEMAND and not os.path.exists(os.path.join(IMAGES, source)):
            continue
        target, source = os.path.join(PAYLOAD, target), os.path.join(IMAGES, source)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not os.path.exists(target) or not os.path.samefile(target, source):
            if os.path.lexists(target):
                os.unlink(target)
            os.link(source, target)  # same file: costs nothing
    os.makedirs(os.path.join(PAYLOAD, "bin"), exist_ok=True)
    listing, total = [], 0
    for folder, folders, names in os.walk(PAYLOAD):
        folders.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            about = os.stat(path)
            total += about.st_size
            listing.append(f"{os.path.relpath(path, PAYLOAD)} {about.st_size} {about.st_mtime_ns} {about.st_ino} {stat.S_IMODE(about.st_mode):o}")
    if total > PAYLOAD_SIZE * 9 // 10:
        raise LabError(f"{PAYLOAD} holds {total >> 20} MiB, the payload disk takes {PAYLOAD_SIZE * 9 // 10 >> 20}",
                       hint="strip the programs in payload/bin")
    stamp, text = PAYLOAD_IMAGE + ".list", "\n".join(listing)
    if read_text(stamp) == text and os.path.exists(PAYLOAD_IMAGE):
        return False
    say(f"making the payload disk ({total >> 20} MiB)")
    new = PAYLOAD_IMAGE + ".new"
    with open(new, "wb") as file:
        file.truncate(PAYLOAD_SIZE)
    done = subprocess.run(["/sbin/mke2fs", "-q", "-t", "ext4", "-b", "4096", "-m", "0", "-O", "^has_journal,^resize_inode",
                           "-E", "lazy_itable_init=1,root_owner=0:0", "-L", "lab", "-d", PAYLOAD, new], check=False)
    if done.returncode != 0:
        raise LabError("mke2fs cannot make the payload disk (its messages are above)")
    # A new file: a running lab keeps the one it has open.
    os.replace(new, PAYLOAD_IMAGE)
    write_text(stamp, text)
    return True


def need_programs():
    """Installs the Debian packages of the lab itself that are missing."""
    packages = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "ssh": "openssh-client", "mke2fs": "e2fsprogs"}
    absent = [package for program, package in packages.items() if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if absent and subprocess.run([os.path.join(SCRIPTS, "lib", "packages.sh"), *absent], check=False).returncode != 0:
        raise LabError(f"cannot install {' '.join(absent)} (messages above)", hint=f"apt-get install {' '.join(absent)}")
