// SPDX-License-Identifier: GPL-3.0-only
//! What is wrong with a file as a whole: exact messages, and that no input makes the reader panic.

use proptest::prelude::*;

use super::*;

#[test]
fn unknown_key_is_told_with_place_and_nearest_and_not_told_again_as_missing() {
    let text = "name = \"web\"\nkernel = \"/k\"\nmemroy = 64\n";
    assert_eq!(
        parse("web.cfg", text.as_bytes(), &[])
            .unwrap_err()
            .to_string(),
        "web.cfg:3:1: unknown key \"memroy\"; did you mean \"memory\"?\n    memroy = 64\n    ^^^^^^"
    );
}

#[test]
fn values_wrong_are_told_with_what_was_expected() {
    for (text, message) in [
        (
            "memory = 'lots'",
            "f:4:10: memory: expected memory in MiB, 1 to 16777216, not \"lots\"",
        ),
        (
            "memory = 0",
            "f:4:10: memory: expected memory in MiB, 1 to 16777216, not \"0\"",
        ),
        (
            "memory = '-1'",
            "f:4:10: memory: expected memory in MiB, 1 to 16777216, not \"-1\"",
        ),
        (
            "memory = [1]",
            "f:4:10: memory: expected a single value, not a list",
        ),
        ("memory += 64", "f:4:11: memory: `+=` cannot add numbers"),
        (
            "memory += [ 1 ]",
            "f:4:11: memory: `+=` cannot append a list to a string",
        ),
        ("maxmem = 32", "f:4:1: maxmem: 32 is less than memory, 64"),
        (
            "vcpus = 129",
            "f:4:9: vcpus: expected a number of vCPUs, 1 to 128, not \"129\"",
        ),
        (
            "vcpus = 0",
            "f:4:9: vcpus: expected a number of vCPUs, 1 to 128, not \"0\"",
        ),
        (
            "vcpus = 4; maxvcpus = 2",
            "f:4:12: maxvcpus: 2 is less than vcpus, 4",
        ),
        (
            "driver_domain = 'yes'",
            "f:4:17: driver_domain: expected 0 or 1, not \"yes\"",
        ),
        (
            "uuid = '12'",
            "f:4:8: uuid: expected a UUID as in 3d1b6b4f-65b5-4ad5-8a2a-5a2a9c1c6a10, not \"12\"",
        ),
        ("ramdisk = ''", "f:4:11: ramdisk: must not be empty"),
        (
            "ramdisk = 'a\\x00'",
            "f:4:11: ramdisk: a path has no zero byte",
        ),
        (
            "on_crash = 'restrat'",
            "f:4:12: on_crash: expected destroy, restart, rename-restart, preserve, not \"restrat\"; did you mean \
             \"restart\"?",
        ),
        (
            "on_crash = 'coredump-restart'",
            "f:4:12: on_crash: \"coredump-restart\" is known to xl, not supported by rxl yet; expected destroy, \
             restart, rename-restart, preserve",
        ),
        (
            "tsc_mode = 'natve'",
            "f:4:12: tsc_mode: expected default, always_emulate, native, not \"natve\"; did you mean \"native\"?",
        ),
        (
            "tsc_mode = 4",
            "f:4:12: tsc_mode: expected default, always_emulate, native, not \"4\"",
        ),
        (
            "tsc_mode = '-1'",
            "f:4:12: tsc_mode: expected default, always_emulate, native, not \"-1\"",
        ),
        (
            "tsc_mode = ['native']",
            "f:4:12: tsc_mode: expected a single value, not a list",
        ),
        (
            "tsc_mode = 'native_paravirt'",
            "f:4:12: tsc_mode: native_paravirt (3) was removed from Xen; expected default, always_emulate, native",
        ),
        (
            "tsc_mode = 3",
            "f:4:12: tsc_mode: native_paravirt (3) was removed from Xen; expected default, always_emulate, native",
        ),
        (
            "type = 'hvm'",
            "f:4:8: type: \"hvm\" is known to xl, not supported by rxl yet; expected pv, pvh",
        ),
        (
            "type = 'pvhh'",
            "f:4:8: type: expected pv, pvh, not \"pvhh\"; did you mean \"pvh\"?",
        ),
        (
            "builder = 'hvm'",
            "f:4:11: builder: \"hvm\" is known to xl, not supported by rxl yet; expected generic",
        ),
        (
            "type = 'pvh'; builder = 'generic'",
            "f:4:15: builder: says another kind of guest than type; leave builder out",
        ),
        (
            "vif = 'bridge=br0'",
            "f:4:7: vif: expected a list, as in vif = [ \"...\" ]",
        ),
        (
            "vif = [ [ 'x' ] ]",
            "f:4:9: vif: expected a string, not a list",
        ),
    ] {
        let told: Vec<_> = bad(text)
            .into_iter()
            .filter(|m| !m.contains("warning"))
            .collect();
        assert_eq!(told, [message], "{text}");
    }
}

#[test]
fn names_refused() {
    let with = |name: &str| {
        let text = format!("name = \"{name}\"\nkernel = \"/k\"\nmemory = 64\n");
        messages(&parse("f", text.as_bytes(), &[]).unwrap_err().diagnostics)
    };
    assert_eq!(with(""), ["f:1:8: name: must not be empty"]);
    assert_eq!(with("a/b"), ["f:1:8: name: must not contain a slash"]);
    assert_eq!(
        with("a\\n"),
        ["f:1:8: name: must not contain control characters"]
    );
    assert_eq!(
        with(" a"),
        ["f:1:8: name: must not begin or end with a blank"]
    );
    assert_eq!(
        with("Domain-0"),
        ["f:1:8: name: Domain-0 is the control domain's name"]
    );
    assert_eq!(
        with(&"a".repeat(128)),
        ["f:1:8: name: may have 127 characters at most"]
    );
    assert_eq!(
        warned("name = '12'")[1],
        "f:4:8: warning: name: commands will take this name for a domain's number"
    );
}

#[test]
fn empty_file_lacks_all_that_is_needed() {
    assert_eq!(
        messages(&parse("f", b"", &[]).unwrap_err().diagnostics),
        [
            "f:1:1: name is not given: give the domain a name, as in name = \"web\"",
            "f:1:1: kernel is not given: give the kernel's file, as in kernel = \"/boot/vmlinuz\"",
            "f:1:1: memory is not given: give it in MiB, as in memory = 256",
        ]
    );
}

#[test]
fn known_keys_that_change_the_guest_are_refused() {
    assert_eq!(
        bad("bootloader = 'pygrub'"),
        [
            "f:4:1: bootloader: known to xl, not supported by rxl yet: give the kernel with kernel= and its ramdisk with \
             ramdisk="
        ]
    );
    assert_eq!(
        bad("vnc = 1"),
        [
            "f:4:7: vnc: known to xl, not supported by rxl yet except as vnc=0: a display needs a framebuffer, which PV \
             and PVH guests of rxl do not have"
        ]
    );
    assert_eq!(
        bad("pci = [ '00:02.0' ]"),
        [
            "f:4:7: pci: known to xl, not supported by rxl yet except as pci=[]: rxl makes guests without devices of the \
             host"
        ]
    );
}

#[test]
fn known_keys_without_effect_are_passed_over() {
    assert_eq!(
        warned("vnc = 0; pci = []; tsc_mode = 'default'; acpi = 1"),
        [""; 0]
    );
    assert_eq!(
        warned("boot = 'cd'"),
        ["f:4:1: warning: boot: has no effect: read for HVM guests only"]
    );
}

#[test]
fn syntax_errors_are_told_and_reading_goes_on() {
    for (text, wanted) in [
        (
            "memory 5",
            vec!["f:4:8: expected `=` or `+=` after `memory`"],
        ),
        ("= 5", vec!["f:4:1: expected a key, as in name = \"web\""]),
        (
            "extra =",
            vec!["f:4:8: extra: expected a value: a number, a \"quoted string\" or a [list]"],
        ),
        (
            "extra = quiet\nvcpu = 1",
            vec![
                "f:4:9: extra: expected a value, found the bare word `quiet`: put it in quotes, \"quiet\"",
                "f:5:1: unknown key \"vcpu\"; did you mean \"vcpus\"?",
            ],
        ),
        (
            "extra = 'a' 'b'",
            vec!["f:4:13: expected the end of the line after the value of `extra`"],
        ),
        (
            "extra = 'abc",
            vec!["f:4:9: the string that starts here is not closed on its line"],
        ),
        (
            "extra = 'a\\qb'",
            vec!["f:4:11: unknown escape: write \\\\ for a backslash"],
        ),
        (
            "extra = '\\xg'",
            vec!["f:4:10: `\\x` must be followed by two hexadecimal digits"],
        ),
        (
            "extra = '\\777'",
            vec!["f:4:10: an octal escape must be 377 at most"],
        ),
        (
            "extra = $(date)",
            vec!["f:4:9: unexpected `$(`: a value is a number, a \"quoted string\" or a [list]"],
        ),
        (
            "vif = [ 'bridge=br0',\nvcpus = 2",
            vec!["f:4:7: vif: the list that starts here is not closed with `]`"],
        ),
        (
            "vif = [ 'a' 'b' ]",
            vec!["f:4:13: vif: expected `,` or `]` in the list"],
        ),
        (
            "vif = [ mac,\n 'b',\n]\nvcpu = 1",
            vec![
                "f:4:9: vif: expected a value, found the bare word `mac`: put it in quotes, \"mac\"",
                "f:7:1: unknown key \"vcpu\"; did you mean \"vcpus\"?",
            ],
        ),
        (
            "vif = [[[[[[[[[]]]]]]]]]",
            vec!["f:4:15: vif: lists may be nested 8 deep"],
        ),
    ] {
        assert_eq!(bad(text), wanted, "{text}");
    }
}

#[test]
fn bytes_that_are_not_text_are_told_in_strings_and_passed_in_comments() {
    let text = [LEAST.as_bytes(), b"# caf\xe9\nextra = 'caf\xe9'\n"].concat();
    let invalid = parse("f", &text, &[]).unwrap_err();
    assert_eq!(
        messages(&invalid.diagnostics),
        ["f:5:13: this byte is not UTF-8 text"]
    );
}

#[test]
fn more_errors_than_the_limit_are_counted() {
    let text: String = (0..31).map(|i| format!("zz{i} = 1\n")).collect();
    let invalid = parse("f", format!("{LEAST}{text}").as_bytes(), &[]).unwrap_err();
    assert_eq!(invalid.diagnostics.len(), MOST_ERRORS);
    assert!(invalid.to_string().ends_with("\nand 11 more errors"));
}

proptest! {
    #[test]
    fn parse_arbitrary_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Err(invalid) = parse("f", &bytes, &[]) {
            prop_assert!(invalid.errors > 0 && !invalid.to_string().is_empty());
        }
    }

    #[test]
    fn parse_words_of_the_grammar_never_panics(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "name", "vif", "disk", "memory", "extra", "=", "+=", "[", "]", ",", ";", "\n", "'a=b,c'", "\"\\x41é\"",
                "'phy:/d,xvda,w'", "'mac=,ip'", "'target=,'", "'", "\\", "0x1f", "#", "é", "\r\n", "' , ,'", "'a:b:c,'",
            ]),
            0..40,
        )
    ) {
        let text = words.join(" ");
        if let Err(invalid) = parse("f", text.as_bytes(), std::slice::from_ref(&text)) {
            prop_assert!(invalid.errors > 0 && !invalid.to_string().is_empty());
        }
    }
}
