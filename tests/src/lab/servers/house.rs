// SPDX-License-Identifier: GPL-3.0-only
//! What Dom0 has for a server: the files, the disk of each member, a root in which clients run, and the origin behind a proxy.

use std::fmt::Write;
use std::path::Path;

use super::stock::{DOWN, FILES, PACKAGE, Stock, TREE, UP, quoted};
use crate::lab::Lab;
use crate::netns::nginx;
use crate::netns::recipe::{Place, Recipe};
use crate::netns::topology::SERVER;
use crate::netns::web::origin::PORT;

/// The folder of it all. Its `common` is the clients' `/data`.
pub const FOLDER: &str = "/root/servers";
/// Where the image of servers and clients is mounted.
const ROOT: &str = "/srv/servers";
/// Members there can be at a time, and so disks: the active one, a standby, and a number that is not given again at once.
const DISKS: u32 = 4;

/// A command that runs another one among the servers and clients.
pub const INSIDE: &str =
    "setsid chroot /srv/servers env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LC_ALL=C.UTF-8";

/// Ends what runs among them, and unmounts all of it. A test that failed may have left some.
const CLEAR: &str = "cd /; for pid in $(cat /root/servers/pids 2>/dev/null); do kill -KILL -- -$pid 2>/dev/null; done; \
                     for place in $(awk '$2 ~ \"^/(srv|root)/servers\" {print $2}' /proc/mounts | sort -r); do umount -l $place; done; \
                     rm -rf /root/servers";

/// A member's configuration, but for its number (`{n}`), which is that of its disk.
#[must_use]
pub fn guest(stock: Stock, kind: &str) -> String {
    let (mode, role) = if stock.stores() {
        ("rw", "server rxl.disk=rw")
    } else {
        ("ro", "server")
    };
    let (port, probe) = (stock.recipe().port, stock.probe());
    format!(
        "name = 'server'\ntype = '{kind}'\nkernel = '/lab/guest/vmlinux'\nramdisk = '/lab/guest/initrd.img'\n\
         cmdline = 'console=hvc0 random.trust_cpu=on quiet rxl.role={role} rxl.port={port} rxl.ip={SERVER}/24 \
         rxl.guest=--interval,2000,--probe,{probe}'\nmemory = 256\ntsc_mode = 'native'\n\
         vif = ['mac=00:16:3e:77:00:10,backend=logger']\n\
         disk = ['format=raw,vdev=xvda,access=ro,target=/lab/servers/servers.img', \
         'format=raw,vdev=xvdb,access={mode},target={FOLDER}/disk-{{n}}.img']\non_crash = 'destroy'\n"
    )
}

/// The group file, but for its first lines. A member is ready when its service has answered its agent.
#[must_use]
pub fn group(stock: Stock) -> String {
    // Clients are told that a file is stored when the guest's disk has it, and its domain may be destroyed at any moment.
    let kind = if stock.stores() {
        "kind = 'ftp'\ndurable = true"
    } else {
        "kind = 'http'"
    };
    let port = stock.recipe().port;
    format!(
        "outbound = 're-issue'\n[[service]]\nport = {port}\n{kind}\nmask = ['Date']\nbuffer = 16777216\n\
         [member]\nconfig = 'server.cfg'\n[standby]\nready-after = '0s'\nboot-timeout = '4min'\n\
         [detection]\nheartbeat = '60s'\nprogress = '60s'\n[policy]\nmost-failovers = 100\n"
    )
}

/// The origin writes down each POST that came whole: it tells itself of it, once its body is there.
const POSTS: &str = "location /post/ { rewrite ^ /counted$uri break; proxy_pass http://127.0.0.1:8080; proxy_next_upstream off; } \
                     location /counted/ { access_log /data/posts; return 200; }";

/// The program that starts the server, in the guest or in Dom0.
fn start(recipe: &Recipe, prefix: &str) -> String {
    let line = |words: &[String]| {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        words.join(" ")
    };
    let mode = if recipe.open { "777" } else { "755" };
    let mut text = format!(
        "#!/bin/sh\nset -e\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\n\
         mkdir -p {prefix} /run/vsftpd/empty\nchmod {mode} {prefix}\ncp -r \"${{0%/*}}/conf/.\" {prefix}\n"
    );
    if !recipe.before.is_empty() {
        let _ = writeln!(text, "{}", line(&recipe.before));
    }
    let _ = writeln!(text, "exec {}", line(&recipe.command));
    text
}

/// What Dom0 has for a server. It stays until [`House::clear`] is called, or the next one is built.
#[derive(Debug)]
pub struct House<'a> {
    lab: &'a Lab,
}

impl<'a> House<'a> {
    /// Makes all of it; what one before has left is removed.
    ///
    /// # Errors
    /// What a command in Dom0 said when it failed.
    pub fn build(lab: &'a Lab, stock: Stock) -> Result<Self, String> {
        let house = Self { lab };
        house.clear()?;
        lab.ok(&format!(
            "mkdir -p {FOLDER}/common {FOLDER}/disk {ROOT} && mount -o loop,ro,noload /lab/servers/servers.img {ROOT} && \
             for place in dev proc; do mount --bind /$place {ROOT}/$place; done && \
             for place in run tmp var/log; do mount -t tmpfs -o mode=1777 tmpfs {ROOT}/$place; done && \
             mount --bind {FOLDER}/common {ROOT}/data"
        ))?;
        house.files(stock)?;
        house.server("disk", &stock.recipe(), "/run/server")?;
        let options = "-q -t ext4 -b 4096 -m 0 -N 2048 -J size=4 -O ^resize_inode -E lazy_itable_init=0,lazy_journal_init=0";
        lab.ok(&format!(
            "cd {FOLDER}; truncate -s 256M disk-1.img; mke2fs {options} -d disk disk-1.img; \
             for n in $(seq 2 {DISKS}); do cp --sparse=always disk-1.img disk-$n.img; done"
        ))?;
        if stock.has_origin() {
            house.origin()?;
        }
        Ok(house)
    }

    /// The files that clients fetch, an hour old, and the one that they store.
    fn files(&self, stock: Stock) -> Result<(), String> {
        let (package, _, size) = PACKAGE;
        let mut files = vec![DOWN];
        if stock.stores() {
            files.extend(TREE);
        } else {
            files = FILES.to_vec();
            files.push((package, size));
        }
        let mut script = format!(
            "mkdir -p {FOLDER}/disk/files/in; chmod 777 {FOLDER}/disk/files/in; cd {FOLDER}/disk/files; mkdir tree repo; "
        );
        for (name, length) in files {
            let _ = write!(script, "head -c {length} /dev/urandom >{name}; ");
        }
        if !stock.stores() {
            // apt does not look into the package.
            let _ = write!(
                script,
                "printf 'Package: big\\nVersion: 1\\nArchitecture: all\\nMaintainer: nobody\\nDescription: big\\n\
                 Filename: ./big.deb\\nSize: {size}\\nSHA256: %s\\n' $(sha256sum <{package} | cut -d' ' -f1) >repo/Packages; "
            );
        }
        let _ = write!(
            script,
            "find . -exec touch -d '1 hour ago' {{}} +; cp -a . {FOLDER}/common/files; head -c {UP} /dev/urandom >{FOLDER}/common/sent"
        );
        self.lab.ok(&script).map(drop)
    }

    /// What starts a server, in this folder.
    fn server(&self, folder: &str, recipe: &Recipe, prefix: &str) -> Result<(), String> {
        let mut script = format!("mkdir -p {FOLDER}/{folder}/conf; cd {FOLDER}/{folder}; ");
        for (name, content) in &recipe.files {
            let _ = write!(script, "cat >conf/{name} <<'END'\n{content}END\n");
        }
        let text = start(recipe, prefix);
        let _ = write!(script, "cat >start <<'END'\n{text}END\nchmod 755 start");
        self.lab.ok(&script).map(drop)
    }

    /// nginx in Dom0, which has the files.
    fn origin(&self) -> Result<(), String> {
        let place = Place {
            files: Path::new("/data/files"),
            prefix: Path::new("/run/origin"),
            beside: Path::new(""),
            addresses: "",
        };
        self.server("common", &nginx::recipe(PORT, &place, POSTS), "/run/origin")?;
        // It listens before it says this.
        let script = format!(
            "cd {FOLDER}; {INSIDE} /data/start </dev/null >/dev/null 2>origin.log & echo $! >>{FOLDER}/pids; \
             exec {{fd}}< <(exec tail -n +1 -F {FOLDER}/origin.log 2>/dev/null); pid=$!; \
             timeout 60 grep -q -m1 -F 'getrlimit(RLIMIT_NOFILE)' <&$fd; rc=$?; kill $pid; exit $rc"
        );
        self.lab.ok(&script).map(drop)
    }

    /// What is not whole on the disk of any member, of files of these names that clients were told that they had stored: a
    /// line for each, and its copies.
    ///
    /// # Errors
    /// A disk cannot be mounted.
    pub fn missing(&self, names: &[String]) -> Result<String, String> {
        let names = names.join(" ");
        // Mounted to be written: what is in the journal only is then brought to its place.
        self.lab.ok(&format!(
            "cd {FOLDER}; for n in $(seq {DISKS}); do mkdir -p on/$n; mount -o loop disk-$n.img on/$n || exit; done; \
             for name in {names}; do whole=no; for n in $(seq {DISKS}); do \
             cmp -s common/sent on/$n/files/in/$name && whole=yes && break; done; \
             [ $whole = yes ] || {{ echo \"$name:\"; ls -l on/*/files/in/$name; }}; done; \
             for n in $(seq {DISKS}); do umount on/$n; done"
        ))
    }

    /// How often each of these came to the origin.
    ///
    /// # Errors
    /// Dom0 does not answer.
    pub fn posts(&self, paths: &[&str]) -> Result<Vec<u32>, String> {
        let log = format!("cat {FOLDER}/common/posts 2>/dev/null || true");
        let log = self.lab.ok(&log)?;
        let count = |path: &&str| {
            let word = format!("\"POST /counted{path} ");
            log.lines().filter(|line| line.contains(&word)).count() as u32
        };
        Ok(paths.iter().map(count).collect())
    }

    /// Ends and removes everything.
    ///
    /// # Errors
    /// Dom0 does not answer.
    pub fn clear(&self) -> Result<(), String> {
        self.lab.run(CLEAR).map(drop)
    }
}
