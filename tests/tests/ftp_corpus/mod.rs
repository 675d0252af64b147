// SPDX-License-Identifier: GPL-3.0-only
//! Commands and replies of FTP that are malformed, ambiguous, huge or slow (RFC 959 section 5.3, RFC 854): what breaks
//! parsers, and what attackers of FTP send (RFC 2577).

/// What the plug-in must make of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Means {
    /// Nothing is said.
    Clear,
    /// It says that it does not understand it.
    Unclear,
    /// It depends on what the server makes of it.
    Either,
}

/// An entry.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What is sent, in these pieces, with a pause between them.
    pub(crate) pieces: Vec<Vec<u8>>,
    /// After a login.
    pub(crate) logs_in: bool,
    pub(crate) means: Means,
}

impl Entry {
    fn after_login(mut self) -> Self {
        self.logs_in = true;
        self
    }
}

fn entry(name: &'static str, means: Means, text: impl AsRef<[u8]>) -> Entry {
    Entry {
        name,
        pieces: vec![text.as_ref().to_vec()],
        logs_in: false,
        means,
    }
}

fn slow(name: &'static str, means: Means, text: &str) -> Entry {
    Entry {
        name,
        pieces: text.bytes().map(|byte| vec![byte]).collect(),
        logs_in: false,
        means,
    }
}

/// Bytes that look like nothing, the same each time.
fn junk(length: usize) -> Vec<u8> {
    let mut state = 12_345_u32;
    let mut next = || {
        state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        (state >> 16) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// What clients say.
pub(crate) fn commands() -> Vec<Entry> {
    use Means::{Clear, Either, Unclear};
    let long = "a".repeat(3000);
    let huge = "a".repeat(40_000);
    let bytes =
        |start: &str, middle: &[u8], end: &str| [start.as_bytes(), middle, end.as_bytes()].concat();
    vec![
        entry(
            "a good session",
            Clear,
            "SYST\r\nPWD\r\nTYPE I\r\nNOOP\r\nQUIT\r\n",
        )
        .after_login(),
        entry("a session that stays", Clear, "PWD\r\nNOOP\r\n").after_login(),
        entry("small letters", Clear, "pwd\r\nnoop\r\nquit\r\n").after_login(),
        entry("bare line feeds", Clear, "PWD\nNOOP\nQUIT\n").after_login(),
        entry("bare carriage returns", Either, "PWD\rNOOP\rQUIT\r\n").after_login(),
        entry("two carriage returns", Either, "PWD\r\r\nNOOP\r\r\n").after_login(),
        entry("empty lines", Either, "\r\n\r\nNOOP\r\n").after_login(),
        entry("spaces around", Either, "  NOOP  \r\n NOOP\r\n").after_login(),
        entry("a tabulator", Either, "NOOP\t\r\nCWD\t/\r\n").after_login(),
        entry("a zero byte in a verb", Either, "NO\0OP\r\nNOOP\r\n").after_login(),
        entry("a zero byte in a path", Either, "CWD /in\0x\r\nPWD\r\n").after_login(),
        entry("zero bytes alone", Either, "\0\0\0\0\r\nNOOP\r\n").after_login(),
        entry(
            "a line feed in a path, as a zero byte",
            Either,
            "CWD a\0b\r\n",
        )
        .after_login(),
        entry(
            "unknown verbs",
            Either,
            "BREW\r\nXYZZY 1 2\r\n\u{e4}\u{f6}\r\nNOOP\r\n",
        )
        .after_login(),
        entry("a long verb", Either, format!("{long}\r\nNOOP\r\n")).after_login(),
        entry("a long path", Either, format!("CWD {long}\r\nNOOP\r\n")).after_login(),
        entry("a huge line", Unclear, format!("CWD {huge}\r\nNOOP\r\n")).after_login(),
        entry("a huge line without an end", Either, &huge).after_login(),
        entry("ten commands in one", Clear, "NOOP\r\n".repeat(10)).after_login(),
        entry(
            "two hundred commands in one",
            Either,
            "NOOP\r\n".repeat(200),
        )
        .after_login(),
        entry(
            "a port elsewhere",
            Clear,
            "PORT 192,0,2,1,31,144\r\nNOOP\r\n",
        )
        .after_login(),
        entry(
            "a port of the system",
            Clear,
            "PORT 192,0,2,1,0,22\r\nNOOP\r\n",
        )
        .after_login(),
        entry(
            "a port that is none",
            Clear,
            "PORT 1,2,3\r\nPORT 256,1,1,1,1,1\r\nPORT x\r\nPORT\r\n",
        )
        .after_login(),
        entry(
            "an extended port elsewhere",
            Clear,
            "EPRT |1|192.0.2.1|8080|\r\nNOOP\r\n",
        )
        .after_login(),
        entry(
            "an extended port that is none",
            Clear,
            "EPRT |9|x|0|\r\nEPRT |||\r\nEPRT\r\n",
        )
        .after_login(),
        entry(
            "passive mode that nobody uses",
            Clear,
            "PASV\r\nPASV\r\nEPSV\r\nNOOP\r\n",
        )
        .after_login(),
        entry(
            "passive mode of a kind that is none",
            Clear,
            "EPSV 9\r\nEPSV x\r\nPASV x\r\n",
        )
        .after_login(),
        entry(
            "transfers without a connection",
            Clear,
            "RETR file\r\nSTOR in/x\r\nLIST\r\n",
        )
        .after_login(),
        entry(
            "a name that goes up",
            Clear,
            "CWD ../../../..\r\nPWD\r\nSIZE /../../etc/passwd\r\n",
        )
        .after_login(),
        entry(
            "an offset that is none",
            Clear,
            "REST x\r\nREST -1\r\nREST 99999999999999999999999\r\nREST\r\n",
        )
        .after_login(),
        entry(
            "half of a renaming",
            Clear,
            "RNTO x\r\nRNFR none\r\nNOOP\r\nRNTO y\r\n",
        )
        .after_login(),
        entry("nothing to abort", Clear, "ABOR\r\nABOR\r\nNOOP\r\n").after_login(),
        entry("nobody", Clear, "PWD\r\nRETR file\r\nNOOP\r\n"),
        entry(
            "a user and no password",
            Clear,
            "USER rxl\r\nUSER rxl\r\nPWD\r\n",
        ),
        entry(
            "help and features",
            Clear,
            "FEAT\r\nHELP\r\nHELP NOOP\r\nNOOP\r\n",
        )
        .after_login(),
        entry(
            "settings that are none",
            Clear,
            "TYPE X\r\nSTRU R\r\nMODE Z\r\nTYPE\r\nOPTS X\r\n",
        )
        .after_login(),
        entry(
            "Telnet: will and do",
            Either,
            bytes("NOOP\r\n", b"\xff\xfb\x06\xff\xfd\x06", "NOOP\r\nNOOP\r\n"),
        )
        .after_login(),
        entry(
            "Telnet: interrupt and mark",
            Either,
            bytes("NOOP\r\n", b"\xff\xf4\xff\xf2", "ABOR\r\nNOOP\r\n"),
        )
        .after_login(),
        entry(
            "Telnet: an escaped byte",
            Either,
            bytes("CWD ", b"\xff\xff", "\r\nNOOP\r\n"),
        )
        .after_login(),
        entry(
            "Telnet: a command without an end",
            Either,
            bytes("NOOP\r\n", b"\xff", ""),
        )
        .after_login(),
        entry(
            "Telnet: a subnegotiation without an end",
            Either,
            bytes("", b"\xff\xfa\x18", "\r\nNOOP\r\n"),
        )
        .after_login(),
        entry(
            "bytes of every kind",
            Either,
            bytes("", &junk(2000), "\r\nNOOP\r\n"),
        )
        .after_login(),
        entry("bytes of every kind, at once", Either, junk(20_000)),
        entry("HTTP", Either, "GET / HTTP/1.1\r\nHost: files\r\n\r\n"),
        entry("SSH", Either, "SSH-2.0-OpenSSH_9.2\r\n"),
        slow("one byte at a time", Clear, "NOOP\r\nQUIT\r\n"),
        slow("a command that never ends", Clear, "CWD aaaaaaaaaaaaaaa").after_login(),
    ]
}

/// What [`replies`] are to: a line that says which, and these.
pub(crate) const QUESTIONS: &str = "USER a\r\nPASV\r\nRETR file\r\n";

/// What a server says to four commands, the first of which it does not know.
pub(crate) fn replies() -> Vec<Entry> {
    use Means::{Clear, Either, Unclear};
    const START: &str = "220 here\r\n502 what\r\n230 in\r\n";
    const PORT: &str = "227 there (10,77,0,2,19,136)\r\n";
    let text = |text: &str| format!("{START}{text}");
    let huge = "a".repeat(40_000);
    let endless = format!("{START}227-\r\n{}", "227-x\r\n".repeat(2000));
    vec![
        entry("good replies", Clear, text(&format!("{PORT}550 no\r\n"))),
        entry(
            "bare line feeds",
            Clear,
            text("227 x (1,2,3,4,5,6)\n550 no\n"),
        ),
        entry(
            "many lines",
            Clear,
            text("227-\r\n 227 x\r\n227-y\r\n227 z\r\n550 no\r\n"),
        ),
        entry("lines without an end", Clear, endless),
        entry("no code", Unclear, text("hello\r\n")),
        entry("a code too low", Unclear, text("099 x\r\n")),
        entry("a code too high", Unclear, text("999 x\r\n")),
        entry("a code with a letter", Unclear, text("2x7 x\r\n")),
        entry("an empty line", Unclear, text("\r\n")),
        entry("a code and a letter", Unclear, text("227x\r\n")),
        entry("a code alone", Clear, text("550\r\n550\r\n")),
        entry("a zero byte", Unclear, text("\x000227 x\r\n")),
        entry("a zero byte in a text", Clear, text("227 \0\r\n550 \0\r\n")),
        entry(
            "a huge line",
            Clear,
            text(&format!("227 {huge}\r\n550 no\r\n")),
        ),
        entry(
            "a huge line without an end",
            Clear,
            text(&format!("227 {huge}")),
        ),
        entry(
            "a port elsewhere",
            Clear,
            text("227 x (192,0,2,1,0,22)\r\n550 no\r\n"),
        ),
        entry(
            "a port that is none",
            Clear,
            text("227 x (1,2,3,4,5,999)\r\n550 no\r\n"),
        ),
        entry(
            "an extended port that is none",
            Clear,
            text("229 (|||99999|)\r\n550 no\r\n"),
        ),
        entry(
            "more replies than commands",
            Unclear,
            text(&format!("{PORT}550 no\r\n226 done\r\n")),
        ),
        entry(
            "a transfer that begins again and again",
            Clear,
            text(&format!("{PORT}{}", "150 x\r\n".repeat(50))),
        ),
        entry(
            "a transfer that begins too often",
            Unclear,
            text(&format!("{PORT}{}", "150 x\r\n".repeat(500))),
        ),
        entry(
            "a last word, and more",
            Either,
            text("421 bye\r\n227 x\r\n"),
        ),
        entry("no greeting", Unclear, "SSH-2.0-OpenSSH_9.2\r\n"),
        entry("a greeting that is not open", Clear, "120 wait\r\n"),
        entry(
            "bytes of every kind",
            Unclear,
            [START.as_bytes(), b"\xff\xfe", &junk(20_000)].concat(),
        ),
        slow(
            "one byte at a time",
            Clear,
            &text(&format!("{PORT}550 no\r\n")),
        ),
        slow(
            "a reply that never ends",
            Clear,
            &text("227 aaaaaaaaaaaaaa"),
        ),
    ]
}
