// SPDX-License-Identifier: GPL-3.0-only
//! A server's FIN and RST. The kernel of a dying server sends them too, before anyone knows that it is dying.
//!
//! A close that the protocol expects passes at once. Any other is held for a while
//! (`fin_hold_ms`): if the server dies meanwhile, it is forgotten; if not, the client gets it then.
//!
//! A server may say that it is done only when its close is acknowledged: vsftpd does, whose sockets linger; or when it is
//! answered: proftpd waits for the client's close for ten seconds. Where another connection is to explain the close, the
//! logger therefore acknowledges it in the client's name, once the client has everything before it; from then on it is
//! the logger that repeats it to the client. A client that has said nothing there will only close, too: the server hears
//! that from the logger, with the number that the client's own close will have.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connection, Context, State};
use crate::frame::Time;
use crate::service::Link;
use crate::wire::{Flags, Head, SegmentRepr, SeqNumber};

/// How often the logger repeats a FIN that no server repeats: a dead one's, and one that it has acknowledged.
const REPEAT: Duration = Duration::from_millis(500);

/// How long a close that another connection explains is held at least (unless nothing is): a busy server may take its time
/// to say so, and once its client has been told, nothing could be asked for again.
const EXPLAINED_WITHIN: Duration = Duration::from_secs(2);

/// How soon after a client's acknowledgement a FIN still directly follows the answer: a server that closes behind each
/// does so before its client's next segment has come.
const DIRECTLY: Duration = Duration::from_millis(5);

/// The same by the server's own clock: its ticks are of a millisecond, most often (RFC 7323 section 5.4).
const DIRECTLY_TICKS: u32 = 5;

/// Which close is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Close {
    /// A FIN at this position of the server's stream.
    Fin(u64),
    /// A reset, with the fields that the client would see.
    Reset {
        /// Where the FIN is that the server sent before, and that was held as well.
        fin: Option<u64>,
        seq: SeqNumber,
        ack: SeqNumber,
        flags: Flags,
    },
}

/// A close that the client has not been told.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) close: Close,
    pub(crate) until: Time,
}

impl Hold {
    pub(crate) const fn until(close: Close, until: Time) -> Self {
        Self { close, until }
    }

    /// The position of the FIN that the client has not been told, if there is one.
    pub(crate) const fn fin(&self) -> Option<u64> {
        match self.close {
            Close::Fin(at) => Some(at),
            Close::Reset { fin, .. } => fin,
        }
    }
}

impl Connection {
    /// Whether a FIN at this position of the server's stream may pass at once: the protocol says that the server would close
    /// here. That the client has closed its direction is not enough: it may wait for an answer, which a dying server's FIN
    /// would cut short.
    /// `pause`: see [`Self::pause`].
    pub(crate) fn fin_expected(&self, at: u64, pause: Option<u32>, cx: &Context<'_>) -> bool {
        !self.protected
            || self.plugin.as_ref().is_some_and(|plugin| {
                // Before all of the client's stream is known, it may still ask for something.
                let whole = self.client.fin.is_some_and(|fin| fin <= self.log.stable());
                let left = whole && !plugin.owes(at);
                left || plugin.close_expected(at) || self.closes_unsaid(at, pause, cx)
            })
    }

    /// Whether a close at this position is one that the server does not announce.
    pub(crate) fn closes_unsaid(&self, at: u64, pause: Option<u32>, cx: &Context<'_>) -> bool {
        cx.service.unsaid.is_usual(cx.now) && self.follows_answer(at, pause, cx.now)
    }

    /// How long the server had said nothing before this segment, in ticks of its clock. `None`: it tells no time.
    pub(crate) fn pause(&self, head: &Head) -> Option<u32> {
        let value = head.options.timestamps?.value;
        let value = self.map.map_or(value, |map| map.stamp_for_client(value));
        Some(value.wrapping_sub(self.server.tsval))
    }

    /// Whether a close at this position directly follows an answer: the client has not acknowledged all of it, or just now.
    fn follows_answer(&self, at: u64, pause: Option<u32>, now: Time) -> bool {
        // Of one that the fast path had it is not known when the client was heard, but when the server spoke.
        let just_now = if self.packets == 0 {
            now.since(self.active) <= DIRECTLY
        } else {
            pause.is_some_and(|ticks| ticks <= DIRECTLY_TICKS)
        };
        let answered = self.plugin.as_ref().is_some_and(|it| it.answered(at));
        answered && (self.server.una < at || just_now)
    }

    /// Holds a close back, unless one is held already that says at least as much.
    pub(crate) fn hold_close(&mut self, close: Close, pause: Option<u32>, cx: &Context<'_>) {
        let hold = Duration::from_millis(u64::from(cx.service.spec.fin_hold_ms));
        let says_more = match (&self.hold, close) {
            (None, _) => true,
            (Some(held), Close::Reset { .. }) => matches!(held.close, Close::Fin(_)),
            (Some(_), Close::Fin(_)) => false,
        };
        let at = match close {
            Close::Fin(at) => at,
            Close::Reset { .. } => self.server.end,
        };
        if self.hold.is_none() && self.follows_answer(at, pause, cx.now) {
            cx.service.unsaid.note(cx.now, hold);
        }
        let hold = if self.explained() && (!hold.is_zero() || cx.service.spec.durable) {
            hold.max(EXPLAINED_WITHIN)
        } else {
            hold
        };
        if says_more {
            self.hold = Some(Hold {
                close,
                until: cx.now.after(hold).max(self.kept_open),
            });
        }
    }

    /// What explains a close of this one waits for a disk until `until`: so does the close, and what the server was told
    /// here stays to be told to another.
    pub(crate) fn keep_open(&mut self, until: Time) {
        let until = until.after(EXPLAINED_WITHIN);
        self.kept_open = self.kept_open.max(until);
        if let Some(hold) = self.hold.as_mut().filter(|_| self.server.fin.is_none()) {
            hold.until = hold.until.max(until);
        }
    }

    /// Another connection says whether a close of this one is meant.
    pub(crate) fn explained(&self) -> bool {
        let link = self.plugin.as_ref().and_then(|plugin| plugin.link());
        matches!(link, Some(Link::To(_)))
    }

    /// Tells the server that the close that is held has arrived, if it waits for that alone.
    pub(crate) fn ack_held_fin(&mut self, cx: &mut Context<'_>) {
        if let Some(hold) = self.hold
            && hold.close == Close::Fin(self.server.una)
            && self.server.una == self.server.end
            && self.state == State::Established
            && self.explained()
        {
            let ack = self.server.una + 1;
            self.left = self.stable() == 0 && self.client.fin.is_none() && !self.log.has_gap();
            let flags = if self.left {
                Flags::FIN
            } else {
                Flags::default()
            };
            cx.send_south(&self.for_server(flags, self.stable(), ack, &[]));
        }
    }

    /// A segment of a server that believes that its client has closed, which it has still to do: both have nothing more to
    /// say. Says whether it was one.
    pub(super) fn hear_left(&mut self, head: &Head, cx: &mut Context<'_>) -> bool {
        let stable = self.stable();
        let ack = head.ack.position(self.present_client_isn(), stable);
        if !self.left || ack <= stable.cast_signed() {
            return false;
        }
        if head.flags.has(Flags::FIN) {
            self.ack_held_fin(cx);
        }
        true
    }

    /// No news of the server's death came: the client is told of the close.
    pub(crate) fn release_hold(&mut self, cx: &mut Context<'_>) {
        let Some(hold) = self.hold.take() else {
            return;
        };
        let repeats = self.state == State::Orphaned || self.explained();
        if repeats && self.server.una > self.server.end {
            return;
        }
        match hold.close {
            Close::Fin(at) if at == self.server.end => {
                self.server.fin = Some(at);
                self.send_client(Flags::FIN, at, &[], cx);
                if repeats {
                    self.hold = Some(Hold::until(hold.close, cx.now.after(REPEAT)));
                }
            }
            // Data before the FIN is still missing: the server will send both again.
            Close::Fin(_) => {}
            Close::Reset {
                fin,
                seq,
                ack,
                flags,
            } => {
                self.tell_fin_before_reset(fin, cx);
                cx.send_north(&SegmentRepr {
                    src: self.path.server,
                    dst: self.path.client,
                    tags: self.path.tags(),
                    seq,
                    ack,
                    flags,
                    window: 0,
                    urgent: 0,
                    options: crate::wire::OptionsRepr::default(),
                    payload: &[],
                });
                if self.state != State::Recovering {
                    self.close(cx);
                }
            }
        }
    }

    /// A reset that follows a FIN has the number behind it. To a client that was not told of the FIN this is one from beside
    /// what it expects, which it does not believe (RFC 5961 section 3.2).
    pub(super) fn tell_fin_before_reset(&mut self, fin: Option<u64>, cx: &mut Context<'_>) {
        if let Some(at) = fin
            && at == self.server.end
        {
            self.server.fin = Some(at);
            self.send_client(Flags::FIN, at, &[], cx);
        }
    }
}
