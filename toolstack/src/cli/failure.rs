// SPDX-License-Identifier: GPL-3.0-only
//! How a verb can fail, and how that is told: prose for people, JSON for programs, an exit code for both.

use std::io;

use serde_json::{Value, json};

use crate::config::Invalid;
use crate::error::{Code, Error};

/// Why a verb has failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// One or more operations failed, each told by itself.
    Errors(Vec<Error>),
    /// The configuration has errors.
    Config {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        invalid: Invalid,
    },
    /// The output cannot be written.
    Output(io::Error),
    /// The one JSON object that was printed says what is wrong.
    Printed(Code),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Errors(vec![error])
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Failure {
    /// A failure if there are errors.
    pub(super) fn unless_empty(errors: Vec<Error>) -> Result<(), Self> {
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Self::Errors(errors))
        }
    }

    /// The process exit code. Of several errors the gravest counts: one that failed outweighs one of usage.
    pub(super) fn exit(&self) -> u8 {
        match self {
            Self::Errors(errors) => errors.iter().map(|e| e.code.exit()).max().unwrap_or(3),
            Self::Config { .. } => Code::Usage.exit(),
            Self::Output(_) => Code::System.exit(),
            Self::Printed(code) => code.exit(),
        }
    }

    /// For people: `rxl VERB: OBJECT: cannot ...`, or the diagnostics of the file as compilers print them.
    pub(super) fn prose(&self, verb: &str) -> String {
        match self {
            Self::Errors(errors) => {
                let lines: Vec<_> = errors.iter().map(|e| format!("rxl {verb}: {e}")).collect();
                lines.join("\n")
            }
            Self::Config { invalid, .. } => invalid.to_string(),
            Self::Output(error) => format!("rxl {verb}: standard output: cannot write: {error}"),
            Self::Printed(_) => String::new(),
        }
    }

    /// For programs: `{"error": {...}}`; with several errors the others follow under `"others"`.
    pub(super) fn json(&self) -> Value {
        match self {
            Self::Printed(_) => Value::Null,
            Self::Errors(errors) => match errors.as_slice() {
                [one] => json!({ "error": one }),
                [first, others @ ..] => json!({ "error": first, "others": others }),
                [] => json!({ "error": null }),
            },
            Self::Config { file, invalid } => {
                let cause = match invalid.errors {
                    1 => "it has an error".to_owned(),
                    n => format!("it has {n} errors"),
                };
                let error = Error::new(Code::Usage, "read the configuration", file, cause);
                let mut value = json!({ "error": error });
                value["error"]["diagnostics"] = json!(invalid.diagnostics);
                value
            }
            Self::Output(error) => json!({
                "error": Error::new(Code::System, "write", "standard output", error)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: Code) -> Error {
        Error::new(
            code,
            "find the domain",
            "web",
            "there is no domain of this name",
        )
        .hint("`rxl list` shows all domains")
    }

    #[test]
    fn prose_names_verb_object_cause_and_hint() {
        assert_eq!(
            Failure::from(error(Code::NotFound)).prose("pause"),
            "rxl pause: web: cannot find the domain: there is no domain of this name\n  hint: `rxl list` shows all domains"
        );
    }

    #[test]
    fn json_of_one_and_of_several_errors() {
        let one = Failure::from(error(Code::NotFound)).json();
        assert_eq!(one["error"]["code"], "not-found");
        assert_eq!(one["error"]["object"], "web");
        let two = Failure::Errors(vec![error(Code::Usage), error(Code::State)]);
        assert_eq!(two.json()["others"][0]["code"], "state");
        assert_eq!(two.exit(), 3);
        assert_eq!(Failure::from(error(Code::Usage)).exit(), 2);
    }

    #[test]
    fn json_of_bad_configuration_has_the_diagnostics() {
        let invalid = crate::config::parse("f", b"memroy = 1", &[]).unwrap_err();
        let failure = Failure::Config {
            file: "f".to_owned(),
            invalid,
        };
        let json = failure.json();
        assert_eq!(failure.exit(), 2);
        assert_eq!(json["error"]["code"], "usage");
        assert_eq!(json["error"]["cause"], "it has 3 errors");
        assert_eq!(json["error"]["diagnostics"][0]["line"], 1);
    }
}
