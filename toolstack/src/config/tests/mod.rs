// SPDX-License-Identifier: GPL-3.0-only
//! The whole way from text to configuration: every key here, every message with its exact text in `errors`, devices in
//! `devices`.

mod devices;
mod errors;

use std::path::{Path, PathBuf};

use super::*;
use crate::hypervisor::GuestKind;
use crate::ids::KiB;

const LEAST: &str = "name = \"web\"\nkernel = \"/k\"\nmemory = 64\n";

fn good(text: &str) -> DomainConfig {
    let loaded = parse("f", text.as_bytes(), &[]).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(loaded.warnings, [], "{text}");
    loaded.config
}

/// The messages without source lines.
fn messages(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics
        .iter()
        .map(|d| d.to_string().lines().next().unwrap_or_default().to_owned())
        .collect()
}

/// The messages of `text` after a sound start of three lines.
fn bad(text: &str) -> Vec<String> {
    match parse("f", format!("{LEAST}{text}\n").as_bytes(), &[]) {
        Ok(loaded) => panic!("{text}: {:?}", loaded.config),
        Err(invalid) => messages(&invalid.diagnostics),
    }
}

fn warned(text: &str) -> Vec<String> {
    match parse("f", format!("{LEAST}{text}\n").as_bytes(), &[]) {
        Ok(loaded) => messages(&loaded.warnings),
        Err(invalid) => panic!("{text}: {invalid}"),
    }
}

#[test]
fn least_file_gets_the_defaults_of_xl() {
    let config = good(LEAST);
    assert_eq!(config.name, "web");
    assert_eq!(config.kind, GuestKind::Pv);
    assert_eq!(config.kernel, Path::new("/k"));
    assert_eq!(config.ramdisk, None);
    assert_eq!(config.cmdline, "");
    assert_eq!(config.memory, KiB(64 * 1024));
    assert_eq!(config.max_memory, config.memory);
    assert_eq!((config.vcpus, config.max_vcpus), (1, 1));
    assert_eq!(config.on_poweroff, Action::Destroy);
    assert_eq!(config.on_reboot, Action::Restart);
    assert_eq!(config.on_crash, Action::Destroy);
    assert_eq!(config.tsc_mode, TscMode::Default);
    assert!(!config.driver_domain && !config.uuid.is_nil());
    assert!(config.vifs.is_empty() && config.disks.is_empty());
}

#[test]
fn full_file_every_key_is_read() {
    let config = good(
        "# a comment\n\
         name = 'web' ; type = \"pvh\"\n\
         uuid = \"3d1b6b4f-65b5-4ad5-8a2a-5a2a9c1c6a10\"\n\
         kernel = \"/k\" # another\r\n\
         ramdisk = \"/r\"\n\
         root = \"/dev/xvda\"\n\
         extra = \"ro \"\n\
         extra += \"quiet\"\n\
         memory = 0x40\n\
         maxmem = \"128\"\n\
         vcpus = 2\n\
         maxvcpus = 4\n\
         on_poweroff = \"preserve\"\n\
         on_reboot = \"rename-restart\"\n\
         on_crash = \"restart\"\n\
         driver_domain = 1\n\
         tsc_mode = \"always_emulate\"\n\
         vif = [ 'mac=00:16:3e:00:00:01, bridge=br0,backend=logger , ip=10.0.0.2,script=/s,vifname=web0,\
                  type=vif,devid=0,trusted',\n\
                 # between\n\
                 '', ]\n\
         disk = [ 'vdev=xvda,access=ro,format=raw,backendtype=phy,devtype=disk,target=/d=,1.img',\n\
                  'phy:/dev/sdb,xvdb,w' ]\n\
         disk += [ '/c.img,raw,xvdc,r', 'file:/d.img,xvdd:disk,r' ]",
    );
    assert_eq!(
        config.uuid.to_string(),
        "3d1b6b4f-65b5-4ad5-8a2a-5a2a9c1c6a10"
    );
    assert_eq!(config.kind, GuestKind::Pvh);
    assert_eq!(config.ramdisk.as_deref(), Some(Path::new("/r")));
    assert_eq!(config.cmdline, "root=/dev/xvda ro quiet");
    assert_eq!(
        (config.memory, config.max_memory),
        (KiB(64 << 10), KiB(128 << 10))
    );
    assert_eq!((config.vcpus, config.max_vcpus), (2, 4));
    assert_eq!(config.on_poweroff, Action::Preserve);
    assert_eq!(config.on_reboot, Action::RenameRestart);
    assert_eq!(config.on_crash, Action::Restart);
    assert!(config.driver_domain);
    assert_eq!(config.tsc_mode, TscMode::AlwaysEmulate);
    assert_eq!(
        config.vifs[0],
        VifConfig {
            mac: [0, 0x16, 0x3e, 0, 0, 1],
            bridge: Some("br0".to_owned()),
            backend: Some("logger".to_owned()),
            ip: Some("10.0.0.2".to_owned()),
            script: Some(PathBuf::from("/s")),
            vifname: Some("web0".to_owned()),
        }
    );
    assert_eq!(config.vifs[1].mac[..3], [0, 0x16, 0x3e]);
    let disk = |target: &str, vdev: &str, writable| DiskConfig {
        target: PathBuf::from(target),
        vdev: vdev.to_owned(),
        writable,
        backend: DiskBackend::Phy,
        script: None,
    };
    assert_eq!(
        config.disks,
        [
            disk("/d=,1.img", "xvda", false),
            disk("/dev/sdb", "xvdb", true),
            disk("/c.img", "xvdc", false),
            disk("/d.img", "xvdd", false),
        ]
    );
}

#[test]
fn json_form_reads_back_the_same() {
    let config = good(&format!(
        "{LEAST}vif=['backend=logger']\ndisk=['/d,raw,xvda,w']"
    ));
    let json = to_json(&config).unwrap();
    assert_eq!(from_json("web.json", &json).unwrap(), config);
    let broken = json.replace("\"web\"", "\"a/b\"");
    assert_eq!(
        from_json("web.json", &broken).unwrap_err().to_string(),
        "web.json: cannot read the configuration: must not contain a slash"
    );
    assert!(from_json("web.json", "{").is_err());
}

#[test]
fn tsc_mode_words_and_numbers_mean_the_same() {
    for (word, number, mode) in [
        ("default", 0, TscMode::Default),
        ("always_emulate", 1, TscMode::AlwaysEmulate),
        ("native", 2, TscMode::Native),
    ] {
        let by_word = format!("tsc_mode = '{word}'");
        let by_number = format!("tsc_mode = {number}");
        assert_eq!(good(&format!("{LEAST}{by_word}")).tsc_mode, mode);
        let loaded = parse("f", format!("{LEAST}{by_number}").as_bytes(), &[]).unwrap();
        assert_eq!(loaded.config.tsc_mode, mode);
        assert_eq!(warned(&by_word), [""; 0]);
        assert_eq!(
            warned(&by_number),
            [format!(
                "f:4:12: warning: tsc_mode: a number is the old form; write tsc_mode = \"{word}\""
            )]
        );
        assert_eq!(serde_json::to_value(mode).unwrap(), word);
    }
}

#[test]
fn json_form_from_before_tsc_mode_reads_as_the_default() {
    let config = good(&format!("{LEAST}tsc_mode = 'native'"));
    let text = to_json(&config).unwrap();
    assert_eq!(
        from_json("web.json", &text).unwrap().tsc_mode,
        TscMode::Native
    );
    let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let fields = value.as_object_mut().unwrap();
    assert_eq!(fields.remove("tsc_mode").unwrap(), "native");
    assert_eq!(
        from_json("web.json", &value.to_string()).unwrap().tsc_mode,
        TscMode::Default
    );
}

#[test]
fn strings_escapes_and_quotes() {
    let cmdline = |text: &str| good(&format!("{LEAST}cmdline = {text}")).cmdline;
    assert_eq!(cmdline(r#""a\tb\\c\"d\'e""#), "a\tb\\c\"d'e");
    assert_eq!(cmdline(r#"'x\x41\101\n"y"'"#), "xAA\n\"y\"");
    assert_eq!(cmdline("'a # b; c'"), "a # b; c");
}

#[test]
fn cmdline_wins_over_root_and_extra_with_warnings() {
    assert_eq!(
        warned("cmdline = 'a'\nroot = 'b'\nextra = 'c'"),
        [
            "f:5:1: warning: root: not used, because cmdline is given",
            "f:6:1: warning: extra: not used, because cmdline is given",
        ]
    );
    assert_eq!(
        good(&format!("{LEAST}root='/dev/xvda'")).cmdline,
        "root=/dev/xvda"
    );
    assert_eq!(good(&format!("{LEAST}extra='quiet'")).cmdline, "quiet");
}

#[test]
fn repeated_key_last_wins_with_warning() {
    let loaded = parse("f", format!("{LEAST}memory = 99").as_bytes(), &[]).unwrap();
    assert_eq!(loaded.config.memory, KiB::from_mib(99));
    assert_eq!(
        messages(&loaded.warnings),
        ["f:4:1: warning: memory: set again, the value of line 3 is not used"]
    );
}

#[test]
fn override_replaces_without_warning_and_errors_name_its_place() {
    let arguments = ["memory=99".to_owned(), "name='other'".to_owned()];
    let loaded = parse("f", LEAST.as_bytes(), &arguments).unwrap();
    assert_eq!(loaded.config.memory, KiB::from_mib(99));
    assert_eq!(loaded.config.name, "other");
    assert_eq!(loaded.warnings, []);
    let arguments = ["memory=99".to_owned(), "vcpu=2".to_owned()];
    let invalid = parse("f", LEAST.as_bytes(), &arguments).unwrap_err();
    assert_eq!(
        invalid.to_string(),
        "command line:2:1: unknown key \"vcpu\"; did you mean \"vcpus\"?\n    vcpu=2\n    ^^^^"
    );
}
