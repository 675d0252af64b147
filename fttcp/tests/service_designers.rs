// SPDX-License-Identifier: GPL-3.0-only
//! docs/service-designers.md shows files as they are (`UPDATE=1 cargo test -p fttcp --test service_designers` puts them
//! in), and the example that it starts from does what it says.

use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "its main is for the command line")]
#[path = "../examples/new-service.rs"]
mod new_service;

/// In the document, between a line with this and the path of a file, and a line with [`END`], stands the file.
const BEGIN: &str = "<!-- file: ";
const END: &str = "<!-- end of file -->";

/// A file without its licence, and up to its tests.
fn shown(text: &str) -> &str {
    let text = text.strip_prefix("// SPDX-License-Identifier: GPL-3.0-only\n");
    let text = text.unwrap_or_default();
    text.split("\n#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .trim_end()
}

fn renewed(document: &str, root: &Path) -> String {
    let mut text = String::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        text += &format!("{line}\n");
        let Some(name) = line
            .strip_prefix(BEGIN)
            .and_then(|rest| rest.strip_suffix(" -->"))
        else {
            continue;
        };
        let file = fs::read_to_string(root.join(name)).expect("the file that is named");
        let (kind, file) = if name.ends_with(".rs") {
            ("rust", shown(&file))
        } else {
            ("toml", file.trim_end())
        };
        text += &format!("```{kind}\n{file}\n```\n{END}\n");
        assert!(lines.any(|line| line == END), "{name}: its end");
    }
    text
}

#[test]
fn document_shows_the_files_as_they_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("docs/service-designers.md");
    let document = fs::read_to_string(&path).expect("the document");
    let renewed = renewed(&document, &root);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, renewed).expect("written");
    } else {
        assert!(
            document == renewed,
            "renew it: UPDATE=1 cargo test -p fttcp --test service_designers"
        );
    }
}

#[test]
fn redis_takes_less_than_150_lines() {
    let file = include_str!("../src/service/redis.rs");
    let code = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with("//");
    let lines = file.lines().filter(code).count();
    assert!(lines < 150, "{lines}");
}

#[test]
fn example_replays_less_with_its_plug_in() {
    let [opaque, toy] = new_service::compare();
    let (opaque, toy) = (opaque.expect("it goes well"), toy.expect("it goes well"));
    assert!(toy > 0 && toy * 5 < opaque, "{toy} of {opaque}");
}
