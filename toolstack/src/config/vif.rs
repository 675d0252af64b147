// SPDX-License-Identifier: GPL-3.0-only
//! `vif = [ "mac=...,bridge=...", ... ]` (`xl-network-configuration(5)`).

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::VifConfig;
use super::keys::suggestion;
use super::lexer::Text;
use super::options::{Part, Parts};
use super::source::Findings;

/// The bridge that xl takes when neither the file nor xl.conf names one.
const DEFAULT_BRIDGE: &str = "xenbr0";

/// Where xl looks for scripts without a path.
const SCRIPTS: &str = "/etc/xen/scripts";

/// Longest name of a network interface (`IFNAMSIZ` without the end).
const MOST_INTERFACE_NAME: usize = 15;

/// Options that rxl takes.
const SUPPORTED: &[&str] = &[
    "mac", "bridge", "backend", "ip", "script", "vifname", "devid", "type",
];

/// Options of xl that ask for something that rxl does not do.
const UNSUPPORTED: &[&str] = &[
    "rate",
    "mtu",
    "model",
    "gatewaydev",
    "netdev",
    "accel",
    "untrusted",
    "forwarddev",
];

/// Reads one interface; `index` is its devid. Everything wrong with it is told.
pub(super) fn read(text: &Text, index: usize, findings: &mut Findings<'_>) -> Option<VifConfig> {
    let mut reader = Reader {
        findings,
        index,
        sound: true,
        seen: Vec::new(),
        vif: VifConfig {
            mac: random_mac(),
            bridge: None,
            backend: None,
            ip: None,
            script: None,
            vifname: None,
        },
    };
    for part in Parts::new(text) {
        reader.part(part);
    }
    let mut vif = reader.vif;
    if vif.bridge.is_none() && vif.backend.is_none() {
        vif.bridge = Some(DEFAULT_BRIDGE.to_owned());
    }
    reader.sound.then_some(vif)
}

struct Reader<'a, 'f> {
    findings: &'a mut Findings<'f>,
    index: usize,
    sound: bool,
    seen: Vec<&'a str>,
    vif: VifConfig,
}

impl<'a> Reader<'a, '_> {
    fn error(&mut self, part: Part<'_>, message: impl Into<String>) {
        self.sound = false;
        self.findings.error(part.span(), message);
    }

    fn part(&mut self, part: Part<'a>) {
        if part.whole.is_empty() || part.whole == "trusted" {
            return;
        }
        let (key, value) = part
            .pair()
            .unwrap_or((part.whole, part.after(part.whole.len())));
        if UNSUPPORTED.contains(&key) || key.starts_with("colo_") {
            return self.error(
                part,
                format!("vif: \"{key}\" is known to xl, not supported by rxl yet"),
            );
        }
        if !SUPPORTED.contains(&key) {
            let near = suggestion(key, SUPPORTED.iter().chain(UNSUPPORTED).copied());
            return self.error(part, format!("vif: unknown option \"{key}\"{near}"));
        }
        if value.whole.is_empty() {
            return self.error(part, format!("vif: {key} needs a value, as in {key}=..."));
        }
        if self.seen.contains(&key) {
            self.findings.warning(
                part.span(),
                format!("vif: {key} is given again, the first is not used"),
            );
        }
        self.seen.push(key);
        self.option(key, value);
    }

    fn option(&mut self, key: &str, value: Part<'_>) {
        let word = value.whole;
        match key {
            "mac" => match parse_mac(word) {
                Ok(mac) => self.vif.mac = mac,
                Err(why) => self.error(value, format!("vif: mac: {why}, not \"{word}\"")),
            },
            "bridge" => self.vif.bridge = self.interface(key, value),
            "vifname" => self.vif.vifname = self.interface(key, value),
            "ip" => self.vif.ip = Some(word.to_owned()),
            "backend" => {
                let dom0 = matches!(word, "0" | "Domain-0");
                self.vif.backend = (!dom0).then(|| word.to_owned());
            }
            "script" => self.vif.script = Some(script(word)),
            "devid" => {
                if word.parse() != Ok(self.index) {
                    let index = self.index;
                    self.error(
                        value,
                        format!(
                            "vif: devid is the position in the list, {index} here, not \"{word}\""
                        ),
                    );
                }
            }
            _ => match word {
                "vif" => {}
                "ioemu" => self.error(value, "vif: type=ioemu is for HVM guests, use type=vif"),
                _ => {
                    let near = suggestion(word, ["vif", "ioemu"]);
                    self.error(
                        value,
                        format!("vif: type: expected vif, not \"{word}\"{near}"),
                    );
                }
            },
        }
    }

    fn interface(&mut self, key: &str, value: Part<'_>) -> Option<String> {
        let word = value.whole;
        let fits = word.len() <= MOST_INTERFACE_NAME
            && !word.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
            && word != "."
            && word != "..";
        if !fits {
            self.error(
                value,
                format!(
                    "vif: {key}: expected an interface name of at most {MOST_INTERFACE_NAME} characters without \
                     blanks and slashes, not \"{word}\""
                ),
            );
        }
        fits.then(|| word.to_owned())
    }
}

/// A script's path: as given, or under xl's script directory if only a name is given.
pub(super) fn script(word: &str) -> PathBuf {
    Path::new(SCRIPTS).join(word)
}

/// Six bytes in hexadecimal, separated by colons or hyphens.
fn parse_mac(word: &str) -> Result<[u8; 6], &'static str> {
    const FORM: &str = "expected six bytes as in 00:16:3e:12:34:56";
    let mut mac = [0; 6];
    let mut parts = word.split([':', '-']);
    for byte in &mut mac {
        let part = parts
            .next()
            .filter(|p| (1..=2).contains(&p.len()))
            .ok_or(FORM)?;
        if !part.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(FORM);
        }
        *byte = u8::from_str_radix(part, 16).map_err(|_| FORM)?;
    }
    if parts.next().is_some() {
        return Err(FORM);
    }
    if mac[0] & 1 == 1 {
        return Err(
            "expected the address of one interface (first byte even), multicast is for groups",
        );
    }
    if mac == [0; 6] {
        return Err("expected an address that is not all zero");
    }
    Ok(mac)
}

/// A random address under Xen's prefix 00:16:3e, its fourth byte below 0x80 as xl makes it. The random bits are
/// those of a version 4 UUID, whose first bytes are wholly random.
fn random_mac() -> [u8; 6] {
    let uuid = Uuid::new_v4();
    let [a, b, c, ..] = *uuid.as_bytes();
    [0x00, 0x16, 0x3e, a & 0x7f, b, c]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_forms() {
        let mac = [0x00, 0x16, 0x3e, 0x01, 0xff, 0x0a];
        assert_eq!(parse_mac("00:16:3e:01:ff:0a"), Ok(mac));
        assert_eq!(parse_mac("0:16:3E:1:FF:a"), Ok(mac));
        assert_eq!(parse_mac("00-16-3e-01-ff-0a"), Ok(mac));
        for wrong in [
            "",
            "00:16:3e:01:ff",
            "00:16:3e:01:ff:0a:0b",
            "00:16:3e:01:ff:0g",
            "00:16:3e:01:ff:+a",
        ] {
            assert!(parse_mac(wrong).is_err(), "{wrong}");
        }
        assert!(parse_mac("01:00:5e:00:00:01").is_err());
        assert!(parse_mac("00:00:00:00:00:00").is_err());
    }

    #[test]
    fn random_mac_has_xen_prefix_and_differs() {
        let macs: Vec<_> = (0..8).map(|_| random_mac()).collect();
        assert!(
            macs.iter()
                .all(|m| m[..3] == [0x00, 0x16, 0x3e] && m[3] < 0x80)
        );
        assert!(macs.iter().any(|m| *m != macs[0]));
    }

    #[test]
    fn script_name_is_looked_up_path_is_kept() {
        assert_eq!(script("vif-route"), Path::new("/etc/xen/scripts/vif-route"));
        assert_eq!(script("/opt/x"), Path::new("/opt/x"));
    }
}
