// SPDX-License-Identifier: GPL-3.0-only
//! From a definition's file to the spec of a service: the text goes along, and whoever gets the spec needs no file.

use std::fs;
use std::path::Path;

use super::ServiceSpec;
use crate::service::{Defined, DefinitionError};

impl ServiceSpec {
    /// Makes it of the kind that this text defines, with the masks that it names.
    ///
    /// # Errors
    /// What is wrong with the text, and where.
    pub fn define(&mut self, text: &str) -> Result<(), DefinitionError> {
        let defined = Defined::parse(text)?;
        defined.name().clone_into(&mut self.kind);
        self.mask.extend_from_slice(defined.masks());
        self.definition = Some(compact(text));
        Ok(())
    }

    /// The same with the text of a file.
    ///
    /// # Errors
    /// What is wrong with which file, and where in it.
    pub fn define_from(&mut self, file: &Path) -> Result<(), String> {
        let name = file.display();
        let text = fs::read_to_string(file).map_err(|error| {
            format!("cannot read definition {name}: {error}; give the path of a TOML file")
        })?;
        self.define(&text)
            .map_err(|error| format!("definition {name}, {error}"))
    }
}

/// A definition without its comments and empty lines, which would be carried around for nothing.
fn compact(text: &str) -> String {
    // Not where they may be part of a string.
    if text.contains("\"\"\"") || text.contains("'''") {
        return text.to_owned();
    }
    let lines = text.lines().map(str::trim);
    let kept = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    kept.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definition_is_carried_without_its_comments() {
        let text = "# what it is\nname = \"a\"\n\n  [request]\nframe = { size = 1 }\n[answer]\nframe = { size = 2 }\n";
        let mut spec = ServiceSpec::new(1, "opaque");
        spec.define(text).unwrap();
        let expected =
            "name = \"a\"\n[request]\nframe = { size = 1 }\n[answer]\nframe = { size = 2 }";
        assert_eq!(spec.definition.as_deref(), Some(expected));
        spec.mask = vec!["Age".to_owned()];
        spec.define(&format!("mask = [\"Date\"]\n{text}")).unwrap();
        assert_eq!(spec.mask, ["Age", "Date"]);
        let with_strings = format!("{text}[[command]]\nmatch = ['''\n#''']\n");
        assert_eq!(compact(&with_strings), with_strings);
    }
}
