// SPDX-License-Identifier: GPL-3.0-only
//! Commands of an FTP client (RFC 959 section 4.1, RFC 2389, RFC 2428, RFC 3659, RFC 4217): what each changes.

use serde::{Deserialize, Serialize};

/// Longest line. Servers take less.
pub(super) const LONGEST: usize = 4096;

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Means {
    /// Asks something.
    Other,
    /// Asks something about a file that tells whether it has changed.
    Fact,
    /// Changes something else than the session.
    Act,
    /// Who the client is.
    User,
    /// The rest of that: password, account.
    Login,
    /// The server forgets who the client is.
    Reinitialize,
    /// Another folder.
    Folder,
    /// Which folder it is.
    AskFolder,
    /// How transfers are made, and what else the session remembers of one kind of setting.
    Setting,
    /// What the next transfer will be (PRET, of distributed servers; pure-ftpd takes it too).
    Prepare,
    /// The next transfer begins later in its file.
    Offset,
    /// What the next command will rename.
    RenameFrom,
    /// The server waits for the next data connection at a port that it says.
    Passive,
    /// The server opens the next data connection.
    Active,
    /// The server sends a file or a list.
    Retrieve,
    /// The server takes a file, and has the whole of what the client sent.
    Store,
    /// It puts what it takes behind what it has, or chooses the name.
    Append,
    Abort,
    /// May be answered while a transfer is under way.
    Status,
    /// All that follows is encrypted, if the server agrees.
    Encrypt,
    Quit,
}

impl Means {
    pub(super) const fn is_transfer(self) -> bool {
        matches!(self, Self::Retrieve | Self::Store | Self::Append)
    }

    /// Whether the server writes something that is to last.
    pub(super) const fn is_change(self) -> bool {
        matches!(self, Self::Store | Self::Append | Self::Act)
    }
}

/// The first word of a command line in upper case, and what follows it.
pub(super) fn words(line: &[u8]) -> (Vec<u8>, &[u8]) {
    let line = line.trim_ascii_start();
    let end = line.iter().position(|&byte| byte == b' ');
    let (word, rest) = line.split_at(end.unwrap_or(line.len()));
    (word.to_ascii_uppercase(), rest.trim_ascii_start())
}

/// What a command line is about. `None`: no command that this knows, of which anything may follow.
pub(super) fn meaning(line: &[u8]) -> Option<Means> {
    let (word, rest) = words(line);
    Some(match word.as_slice() {
        b"USER" => Means::User,
        b"PASS" | b"ACCT" => Means::Login,
        b"REIN" => Means::Reinitialize,
        b"CWD" | b"XCWD" | b"CDUP" | b"XCUP" => Means::Folder,
        b"PWD" | b"XPWD" => Means::AskFolder,
        b"TYPE" | b"STRU" | b"MODE" | b"OPTS" | b"PBSZ" | b"PROT" | b"LANG" | b"CLNT" | b"HOST" => {
            Means::Setting
        }
        b"SITE" if words(rest).0 == b"UMASK" && !words(rest).1.is_empty() => Means::Setting,
        b"PRET" => Means::Prepare,
        b"REST" => Means::Offset,
        b"RNFR" => Means::RenameFrom,
        b"EPSV" if rest.eq_ignore_ascii_case(b"ALL") => Means::Setting,
        b"PASV" | b"EPSV" => Means::Passive,
        b"PORT" | b"EPRT" => Means::Active,
        b"RETR" | b"LIST" | b"NLST" | b"MLSD" => Means::Retrieve,
        b"STOR" => Means::Store,
        b"APPE" | b"STOU" => Means::Append,
        b"ABOR" => Means::Abort,
        b"STAT" => Means::Status,
        b"AUTH" => Means::Encrypt,
        b"QUIT" => Means::Quit,
        b"SIZE" | b"MDTM" => Means::Fact,
        b"SITE" | b"RNTO" | b"DELE" | b"RMD" | b"XRMD" | b"MKD" | b"XMKD" | b"MFMT" | b"MFCT"
        | b"MFF" => Means::Act,
        b"NOOP" | b"SYST" | b"FEAT" | b"HELP" | b"MLST" | b"ALLO" | b"CSID" | b"AVBL" | b"HASH"
        | b"XCRC" | b"XMD5" | b"XSHA1" | b"XSHA256" | b"XSHA512" => Means::Other,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_any_case() {
        assert_eq!(words(b"retr a b"), (b"RETR".to_vec(), &b"a b"[..]));
        assert_eq!(meaning(b"epsv all"), Some(Means::Setting));
        assert_eq!(meaning(b"EPSV 2"), Some(Means::Passive));
        assert_eq!(meaning(b"site umask 022"), Some(Means::Setting));
        assert_eq!(meaning(b"site chmod 1 x"), Some(Means::Act));
        assert_eq!(meaning(b""), None);
        assert_eq!(meaning(b"GET / HTTP/1.1"), None);
    }
}
