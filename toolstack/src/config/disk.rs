// SPDX-License-Identifier: GPL-3.0-only
//! `disk = [ ... ]` (`xl-disk-configuration(5)`): `key=value` options, flags, the positional form
//! `target,format,vdev,access`, and the old prefixes (`phy:`, `file:`). `target=` takes the rest of the string.

use std::path::PathBuf;

use super::keys::suggestion;
use super::lexer::Text;
use super::options::{Part, Parts};
use super::source::Findings;
use super::vif::script;
use super::{DiskBackend, DiskConfig};

/// Options with a value that rxl knows of.
const OPTIONS: &[&str] = &[
    "target",
    "format",
    "vdev",
    "access",
    "backendtype",
    "script",
    "devtype",
    "backend",
    "specification",
];

/// Words without a value that ask for nothing that rxl does not do anyway.
const NEUTRAL: &[&str] = &["trusted", "discard", "no-colo"];

/// Options and words of xl that ask for something that rxl does not do.
const UNSUPPORTED: &[&str] = &[
    "no-discard",
    "untrusted",
    "colo",
    "colo-host",
    "colo-port",
    "colo-export",
    "active-disk",
    "hidden-disk",
];

const IMAGE_FORMATS: &[&str] = &["qcow", "qcow2", "vhd", "qed"];

/// Reads one disk. Everything wrong with it is told.
pub(super) fn read(text: &Text, findings: &mut Findings<'_>) -> Option<DiskConfig> {
    let mut reader = Reader {
        findings,
        sound: true,
        prefixed: false,
        target: None,
        format: None,
        vdev: None,
        access: None,
        script: None,
    };
    reader.all(text);
    for (name, given) in [
        ("target", reader.target.is_some()),
        ("vdev", reader.vdev.is_some()),
    ] {
        if !given && reader.sound {
            reader.sound = false;
            reader.findings.error(
                text.span,
                format!("disk: {name} is not given, as in \"vdev=xvda,target=/disk.img\""),
            );
        }
    }
    let sound = reader.sound;
    Some(DiskConfig {
        target: PathBuf::from(reader.target?),
        vdev: reader.vdev?.to_owned(),
        writable: reader.access.unwrap_or(true),
        backend: DiskBackend::Phy,
        script: reader.script,
    })
    .filter(|_| sound)
}

struct Reader<'a, 'f> {
    findings: &'a mut Findings<'f>,
    sound: bool,
    prefixed: bool,
    target: Option<&'a str>,
    format: Option<()>,
    vdev: Option<&'a str>,
    access: Option<bool>,
    script: Option<PathBuf>,
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, part: Part<'_>, message: impl Into<String>) {
        self.sound = false;
        self.findings.error(part.span(), message);
    }

    fn all(&mut self, text: &'a Text) {
        let mut parts = Parts::new(text);
        while let Some(rest) = parts.rest() {
            if let Some(("target", _)) = rest.pair() {
                let target = rest.after("target=".len());
                self.set_target(
                    target,
                    target.whole.strip_suffix(',').unwrap_or(target.whole),
                );
                parts.stop();
            } else if let Some(part) = parts.next() {
                self.part(part);
            } else {
                return;
            }
        }
    }

    fn part(&mut self, part: Part<'a>) {
        let word = part.whole;
        let key = part.pair().map_or(word, |(key, _)| key);
        if NEUTRAL.contains(&word) {
        } else if word == "direct-io-safe" {
            self.findings.warning(
                part.span(),
                "disk: direct-io-safe has no effect: it is for disks served by QEMU",
            );
        } else if word == "cdrom" || word == "devtype=cdrom" {
            self.error(
                part,
                "disk: a cdrom drive needs an HVM guest; attach the image with access=ro",
            );
        } else if UNSUPPORTED.contains(&key) {
            self.error(
                part,
                format!("disk: \"{key}\" is known to xl, not supported by rxl yet"),
            );
        } else if let Some((key, value)) = part.pair() {
            self.option(key, part, value);
        } else {
            self.positional(part);
        }
    }

    fn option(&mut self, key: &str, part: Part<'a>, value: Part<'a>) {
        let word = value.whole;
        match key {
            "format" => self.set_format(value),
            "vdev" => self.set_vdev(value),
            "access" => self.set_access(value),
            "script" if word.is_empty() => self.error(part, "disk: script needs a value"),
            "script" => self.script = Some(script(word)),
            "backendtype" => match word {
                "phy" => {}
                "qdisk" | "tap" | "standalone" => self.error(
                    value,
                    format!(
                        "disk: backendtype {word} is known to xl, not supported by rxl yet: use phy"
                    ),
                ),
                _ => self.choice(value, "backendtype", &["phy"]),
            },
            "backend" if matches!(word, "0" | "Domain-0") => {}
            "backend" => self.error(
                value,
                "disk: a back-end outside Domain-0 is known to xl, not supported by rxl yet",
            ),
            "devtype" => match word {
                "disk" => {}
                _ => self.choice(value, "devtype", &["disk", "cdrom"]),
            },
            "specification" => match word {
                "xen" => {}
                "virtio" => self.error(
                    value,
                    "disk: specification virtio is known to xl, not supported by rxl yet: use xen",
                ),
                _ => self.choice(value, "specification", &["xen"]),
            },
            _ => {
                let near = suggestion(
                    key,
                    OPTIONS.iter().chain(NEUTRAL).chain(UNSUPPORTED).copied(),
                );
                self.error(part, format!("disk: unknown option \"{key}\"{near}"));
            }
        }
    }

    fn positional(&mut self, part: Part<'a>) {
        if !self.sound {
            // What a part means depends on those before it.
        } else if self.target.is_none() {
            let target = self.strip_prefix(part);
            self.set_target(target, target.whole);
        } else if !self.prefixed && self.format.is_none() {
            self.set_format(part);
        } else if self.vdev.is_none() {
            self.set_vdev(part);
        } else if self.access.is_none() {
            self.set_access(part);
        } else {
            self.error(
                part,
                format!(
                    "disk: \"{}\" is one part too many after target, format, vdev and access",
                    part.whole
                ),
            );
        }
    }

    /// Takes an old prefix from the target.
    fn strip_prefix(&mut self, part: Part<'a>) -> Part<'a> {
        let Some((prefix, _)) = part.whole.split_once(':') else {
            return part;
        };
        if prefix.is_empty()
            || !prefix
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        {
            return part;
        }
        let rest = part.after(prefix.len() + 1);
        self.prefixed = true;
        match prefix {
            "phy" | "file" | "raw" => {}
            "iscsi" | "nbd" | "enbd" | "drbd" => {
                self.script = Some(script(&format!("block-{prefix}")));
            }
            "tap" | "tap2" | "tapdisk" | "aio" | "ioemu" => return self.strip_prefix(rest),
            _ if IMAGE_FORMATS.contains(&prefix) => self.image(part, prefix),
            _ => {
                let near = suggestion(prefix, ["phy", "file", "raw"]);
                self.error(part, format!("disk: unknown prefix \"{prefix}:\"{near}"));
            }
        }
        rest
    }

    fn set_target(&mut self, part: Part<'a>, target: &'a str) {
        if self.target.is_some() {
            self.error(part, "disk: target is given twice");
        } else if target.is_empty() {
            self.error(
                part,
                "disk: target is empty, expected a file or a block device",
            );
        } else {
            self.target = Some(target);
        }
    }

    fn set_format(&mut self, part: Part<'a>) {
        self.format = Some(());
        match part.whole {
            "" | "raw" => {}
            "empty" => self.error(part, "disk: an empty drive needs an HVM guest"),
            format if IMAGE_FORMATS.contains(&format) => self.image(part, format),
            _ => self.choice(part, "format", &["raw", "qcow2", "qcow", "vhd", "qed"]),
        }
    }

    fn image(&mut self, part: Part<'_>, format: &str) {
        self.error(
            part,
            format!(
                "disk: format {format} needs QEMU as back-end, which rxl does not have yet; make it raw: \
                 qemu-img convert -O raw OLD NEW"
            ),
        );
    }

    fn set_vdev(&mut self, part: Part<'a>) {
        let word = part.whole;
        let name = match word.rsplit_once(':') {
            Some((name, "disk")) => name,
            Some((_, "cdrom")) => {
                return self.error(
                    part,
                    "disk: a cdrom drive needs an HVM guest; attach the image with access=ro",
                );
            }
            _ => word,
        };
        if self.vdev.is_some() {
            self.error(part, "disk: vdev is given twice");
        } else if is_vdev(name) {
            self.vdev = Some(name);
        } else {
            self.error(
                part,
                format!(
                    "disk: vdev: expected a name as in xvda, xvda1, sda or hda, not \"{word}\""
                ),
            );
        }
    }

    fn set_access(&mut self, part: Part<'_>) {
        match part.whole {
            "r" | "ro" => self.access = Some(false),
            "w" | "rw" | "" => self.access = Some(true),
            _ => self.choice(part, "access", &["ro", "rw", "r", "w"]),
        }
    }

    fn choice(&mut self, part: Part<'_>, key: &str, valid: &[&str]) {
        let word = part.whole;
        let near = suggestion(word, valid.iter().copied());
        self.error(
            part,
            format!(
                "disk: {key}: expected {}, not \"{word}\"{near}",
                valid.join(" or ")
            ),
        );
    }
}

/// `xvd`, `sd` or `hd`, letters, and perhaps a partition number; or `dNUMBER`, perhaps `pNUMBER`.
fn is_vdev(name: &str) -> bool {
    let digits = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
    let letters = |s: &str| {
        let end = s.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(s.len());
        let (letters, number) = s.split_at(end);
        (1..=4).contains(&letters.len()) && (number.is_empty() || digits(number))
    };
    let numbered = |s: &str| match s.split_once('p') {
        Some((disk, partition)) => digits(disk) && digits(partition),
        None => digits(s),
    };
    ["xvd", "sd", "hd"]
        .iter()
        .any(|prefix| name.strip_prefix(prefix).is_some_and(letters))
        || name.strip_prefix('d').is_some_and(numbered)
}

#[cfg(test)]
mod tests {
    use super::is_vdev;

    #[test]
    fn vdev_names() {
        for good in ["xvda", "xvdaa12", "sda1", "hdc", "d0", "d5p3"] {
            assert!(is_vdev(good), "{good}");
        }
        for bad in [
            "",
            "xvd",
            "xvda1b",
            "vda",
            "xvdA",
            "d",
            "dp1",
            "/dev/xvda",
            "nvme0n1",
        ] {
            assert!(!is_vdev(bad), "{bad}");
        }
    }
}
