// SPDX-License-Identifier: GPL-3.0-only
//! What a service designer tells the logger about a protocol.
//!
//! Who lives here: the trait [`Service`] and its implementations. One object per connection sees both byte streams
//! in order, each byte once, also those that a replacement regenerates. docs/service-designers.md has a table of what a
//! designer can say, and which of it is said here.

mod defined;
pub mod dialogue;
#[cfg(any(test, feature = "sim"))]
mod exchange;
mod ftp;
mod http;
mod kinds;
mod links;
mod opaque;
mod redis;
pub(crate) mod stored;

use std::fmt::Debug;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::engine::Ends;

pub use defined::{Defined, DefinedProtocol, DefinitionError};
pub use kinds::{KINDS, Kinds};
pub(crate) use kinds::{Maker, Unusable};
pub use links::{Goes, Link, Moves, News, Stands};
pub use opaque::Opaque;
pub(crate) use stored::revive;

/// The beginning of an answer that is kept unless a plug-in says otherwise, in bytes.
pub const CAPTURE: u32 = 1024;

/// A point in both streams: a fresh server that is given the client's bytes from `client` on says the server's bytes
/// from `server` on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Position in the client's stream.
    pub client: u64,
    /// Position in the server's stream.
    pub server: u64,
}

/// The answers to requests that must not be made twice, of those that a replay would tell again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Once {
    /// Where the last of them ends that the server has said whole.
    pub answered: Option<u64>,
    /// One of the requests has no whole answer, or it is not known.
    pub open: bool,
}

/// The request that a server is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// Where it stands in the client's stream, as far as it is known.
    pub request: Range<u64>,
    /// No byte of its answer was said.
    pub untouched: bool,
    /// What follows its first word may be a secret: that is not logged.
    pub secret: bool,
    /// It is being done, and what comes of it comes on the connection that was announced for it.
    pub linked: bool,
}

/// What is to become of a connection whose server is dead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A replacement is told again what the client said, from the last [`Restart`] on.
    Replay,
    /// A replacement is asked only for what the client lacks: in the place of the request that stands here in the client's
    /// stream it is told another ([`Service::ask`]). If it does not answer that ([`Service::judge`]), everything is
    /// replayed.
    Resume(Range<u64>),
    /// It ends, for this reason: its client gets an error reply if it has no byte of an answer ([`Service::error_reply`]),
    /// or is reset, as it would be without a logger.
    End(&'static str),
}

/// What the beginning of an answer says to who has asked only for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// It says more than this.
    Partial,
    /// So many bytes are its head, which the client must not see; the rest follows.
    Head(usize),
    /// It is not what was asked for, for this reason.
    Refused(&'static str),
}

/// One connection of a service, as its plug-in sees it.
pub trait Service: Debug + Send {
    /// Bytes of the server, from position `at` of its stream on, in order. Where the logger keeps only parts of the
    /// stream, bytes beyond [`Service::capture`] may be left out.
    fn server_bytes(&mut self, at: u64, bytes: &[u8]);

    /// Bytes of the client, from position `at` of its stream on, in order, each once. They are logged, and about to be
    /// passed on.
    fn client_bytes(&mut self, at: u64, bytes: &[u8]) {
        let _ = (at, bytes);
    }

    /// The newest point from which a replay may start, given that the client has acknowledged the server's stream below
    /// `acknowledged`. Asked often: `None` also says that nothing is newer than what was said before.
    fn restart(&mut self, acknowledged: u64) -> Option<Restart> {
        let _ = acknowledged;
        None
    }

    /// The point that [`Service::restart`] named last was taken: what lies before it will not be replayed. It is not where
    /// the streams cannot be cut there; a later point may be.
    fn restarted(&mut self, at: Restart) {
        let _ = at;
    }

    /// Why the plug-in no longer understands the connection. Asked often; what it says is logged, and to be said once.
    fn complaint(&mut self) -> Option<&'static str> {
        None
    }

    /// The server is dead: what is to become of the connection, given that the client has acknowledged the server's
    /// stream below `acknowledged`.
    fn verb(&self, acknowledged: u64) -> Verb {
        let _ = acknowledged;
        Verb::Replay
    }

    /// After [`Verb::End`]: what is known of the answers to what must not be done twice, if the server has said its stream up
    /// to `end`. If only the client's acknowledgement of one is missing, the connection ends only if that does not come.
    fn once(&self, end: u64) -> Once {
        let _ = end;
        Once::default()
    }

    /// Whether at this position of the server's stream an answer ends. There are servers that close here without having said
    /// so, also if more was asked meanwhile.
    fn answered(&self, at: u64) -> bool {
        let _ = at;
        false
    }

    /// Whether nothing is under way, given that the client has acknowledged the server's stream below `acknowledged`,
    /// though there is something that another server must be told. Where there is nothing, because the log was cut
    /// ([`Service::restart`]), this is not asked.
    fn rests(&self, acknowledged: u64) -> bool {
        let _ = acknowledged;
        false
    }

    /// After [`Verb::Resume`]: what a replacement is asked, so that it says, behind a head of its own, the server's stream
    /// from `from` on; a little less may be acknowledged than when the verb was given. `said`: the request that the verb
    /// named. `None`: there is nothing that could be asked.
    fn ask(&self, from: u64, said: &[u8]) -> Option<Vec<u8>> {
        let _ = (from, said);
        None
    }

    /// Judges the beginning of the answer to [`Service::ask`], all that has come of it so far.
    fn judge(&self, from: u64, answer: &[u8]) -> Heard {
        let _ = (from, answer);
        Heard::Refused("nothing was asked for")
    }

    /// The request that the server is at, if it has said its stream up to `end`. A request that was under way each time that a
    /// server died may be what it died of. `None`: there is none, or the protocol has no requests.
    fn under_way(&self, end: u64) -> Option<UnderWay> {
        let _ = end;
        None
    }

    /// The connection cannot be moved, and `end` is where what the client was sent ends: the bytes of an error reply that go
    /// there, after which the server's stream ends. `None`: what was sent ends within an answer, no answer is due, or the
    /// protocol has no such reply; the client is reset then.
    fn error_reply(&self, end: u64) -> Option<Vec<u8>> {
        let _ = end;
        None
    }

    /// After [`Verb::Resume`]: from where on in its stream the server is to go on, and what it has said before that and the
    /// client may lack: the logger says that again by itself.
    fn said(&self, acknowledged: u64) -> (u64, Vec<u8>) {
        (acknowledged, Vec::new())
    }

    /// The answer to [`Service::ask`] so far, before it is judged.
    fn hears(&mut self, from: u64, answer: &[u8]) {
        let _ = (from, answer);
    }

    /// The replacement's answer was not what was asked for: what is to become of the connection. [`Verb::Resume`]: it is
    /// asked something else.
    fn refused(&mut self) -> Verb {
        Verb::Replay
    }

    /// Both streams are shown again from `to` on, which is the last point that
    /// [`Service::restart`] gave and that was taken, or the beginning.
    fn rewind(&mut self, to: Restart);

    /// How many bytes of the server this plug-in must see after each piece of the client's, at least.
    fn capture(&self) -> u32 {
        CAPTURE
    }

    /// Whether a close by the server at position `at` of its stream is what the protocol expects: everything owed has
    /// been sent, and the server had said that it would close. Such a close is not held back for news of the server's death.
    fn close_expected(&self, at: u64) -> bool;

    /// Whether the server, having said its stream up to `end`, may have something to say yet to what the client has said.
    /// If not, a client that has closed its direction will hear nothing more, and the server's close is what the protocol
    /// expects.
    fn owes(&self, end: u64) -> bool {
        let _ = end;
        true
    }

    /// Whether the client has said a whole request to which the server, having said its stream up to `end`, owes an answer
    /// or more of it. Only who understands the protocol says so: by this a server is found that lives and answers nobody.
    fn awaits(&self, end: u64) -> bool {
        let _ = end;
        false
    }

    /// Whether [`Service::restart`] ever says something. Only then may a full buffer hold a client's window.
    fn truncates(&self) -> bool {
        false
    }

    /// Whether it must be shown every byte before it passes. Such a connection is never left to the fast path. Of what was
    /// sent on it the beginnings of answers are compared ([`Service::capture`]): a resume may begin at any byte.
    fn sees_all(&self) -> bool {
        false
    }

    /// What the last bytes told that is not of this connection alone. Asked after each segment, until there is nothing;
    /// only of plug-ins that see all.
    fn news(&mut self) -> Option<News> {
        None
    }

    /// How the connection is linked with others now.
    fn link(&self) -> Option<Link> {
        None
    }

    /// A plug-in for a connection that [`Link::Expects`] or [`Link::Opens`] announces. `None`: this one announces none.
    fn linked(&self) -> Option<Box<dyn Service>> {
        None
    }

    /// This connection was announced by `control`.
    fn linked_to(&mut self, control: Ends) {
        let _ = control;
    }

    /// Who announced this connection says that the server has done what it was for ([`News::Over`]).
    fn linked_is_over(&mut self) {}

    /// The server is dead. How the connection stands that this one announced; says what becomes of it. `None`: it was none, or
    /// it has come and is over.
    fn linked_stands(&mut self, acknowledged: u64, stands: Option<Stands>) -> Moves {
        let _ = (acknowledged, stands);
        Moves::default()
    }

    /// After [`Service::linked_stands`]: the client has ended the connection that this one announced. Says whether a replacement
    /// is to be asked something else ([`Service::ask`]).
    fn linked_is_gone(&mut self, acknowledged: u64) -> bool {
        let _ = acknowledged;
        false
    }

    /// While a replacement is asked ([`Service::ask`]), more may have come from the client. Says whether it is to be asked
    /// something else.
    fn asks_anew(&mut self, acknowledged: u64) -> bool {
        let _ = acknowledged;
        false
    }

    /// How this connection, which another announced, goes on with a replacement.
    fn goes(&mut self, on: Option<Goes>) {
        let _ = on;
    }

    /// The port at which the present server expects the announced connection, if it is another than it was told
    /// ([`News::Moved`]).
    fn linked_port(&self) -> Option<u16> {
        None
    }

    /// Of these bytes of the server at `at`, which have not passed yet: from which position on they must wait until the
    /// client has all of the announced connection.
    fn withholds(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        let _ = (at, bytes);
        None
    }

    /// Of these bytes of the server at `at`, which have not passed yet: from which position on they must wait until what the
    /// server has written is on its disk, because they say that something was changed. What waits is not shown before it
    /// passes, and is asked about again if more follows it. Asked only if the service is durable
    /// ([`crate::control::ServiceSpec::durable`]).
    fn commits(&self, at: u64, bytes: &[u8]) -> Option<u64> {
        let _ = (at, bytes);
        None
    }

    /// Whether [`Service::commits`] ever says something: only then can a service be durable. Such a plug-in must be shown every
    /// byte ([`Service::sees_all`]).
    fn knows_changes(&self) -> bool {
        false
    }

    /// The kind of service, as the engine's [`Kinds`] know it.
    fn kind(&self) -> &str;

    /// What it remembers of the connection, for [`Service::restore`] in another process.
    fn save(&self) -> Vec<u8>;

    /// Goes on where the one stood that said `saved`. False: that was not understood, and nothing changed.
    fn restore(&mut self, saved: &[u8]) -> bool;
}
