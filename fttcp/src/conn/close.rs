// SPDX-License-Identifier: GPL-3.0-only
//! A server's FIN and RST. The kernel of a dying server sends them too, before anyone knows that it is dying.
//!
//! A close that the protocol expects passes at once. Any other is held for a while
//! (`fin_hold_ms`): if the server dies meanwhile, it is forgotten; if not, the client gets it then.
//!
//! A server may say that it is done only when its close is acknowledged: vsftpd does, whose sockets linger. Where another
//! connection is to explain the close, the logger therefore acknowledges it in the client's name, once the client has
//! everything before it; from then on it is the logger that repeats it to the client.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connection, Context, State};
use crate::frame::Time;
use crate::service::Link;
use crate::wire::{Flags, SegmentRepr, SeqNumber};

/// How often the logger repeats a FIN that no server repeats: a dead one's, and one that it has acknowledged.
const REPEAT: Duration = Duration::from_millis(500);

/// Which close is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Close {
    /// A FIN at this position of the server's stream.
    Fin(u64),
    /// A reset, with the fields that the client would see.
    Reset {
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
}

impl Connection {
    /// Whether a FIN at this position of the server's stream may pass at once: the protocol says that the server would close here. That the client has closed
    /// its direction says nothing: it may wait for an answer, which a dying server's FIN would cut short.
    pub(crate) fn fin_expected(&self, at: u64) -> bool {
        !self.protected
            || self.plugin.as_ref().is_some_and(|plugin| {
                let left = self.client.fin.is_some() && !plugin.owes();
                left || plugin.close_expected(at)
            })
    }

    /// Holds a close back, unless one is held already that says at least as much.
    pub(crate) fn hold_close(&mut self, close: Close, cx: &Context<'_>) {
        let hold = Duration::from_millis(u64::from(cx.service.spec.fin_hold_ms));
        let says_more = match (&self.hold, close) {
            (None, _) => true,
            (Some(held), Close::Reset { .. }) => matches!(held.close, Close::Fin(_)),
            (Some(_), Close::Fin(_)) => false,
        };
        if says_more {
            self.hold = Some(Hold {
                close,
                until: cx.now.after(hold),
            });
        }
    }

    /// Another connection says whether a close of this one is meant.
    pub(crate) fn explained(&self) -> bool {
        let link = self.plugin.as_ref().and_then(|plugin| plugin.link());
        matches!(link, Some(Link::To(_)))
    }

    /// Tells the server that the close that is held has arrived, if it waits for that alone.
    pub(crate) fn ack_held_fin(&self, cx: &mut Context<'_>) {
        if let Some(hold) = self.hold
            && hold.close == Close::Fin(self.server.una)
            && self.server.una == self.server.end
            && self.state == State::Established
            && self.explained()
        {
            let ack = self.server.una + 1;
            cx.send_south(&self.for_server(Flags::default(), self.stable(), ack, &[]));
        }
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
            Close::Reset { seq, ack, flags } => {
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
}
