// SPDX-License-Identifier: GPL-3.0-only
//! After a connection was moved, no end waits for a timer that has backed off meanwhile.
//!
//! Both ends are told where they are and how much they may send. Such a segment is not repeated by anyone if it is
//! lost (RFC 9293 section 3.8.6.1), and the next probe of an end with a closed window may be a minute away: the logger
//! says it again, until the client is heard.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Connection, Context, State};
use crate::frame::Time;

/// How often it is said again, and after what time first; each further time it takes twice as long.
const TIMES: u8 = 3;
const FIRST: Duration = Duration::from_millis(200);

/// What is still to be said again.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Kick {
    pub(crate) at: Time,
    left: u8,
}

impl Kick {
    /// Both ends are told once.
    pub(super) const fn once(at: Time) -> Self {
        Self { at, left: 1 }
    }
}

impl Connection {
    /// What is to be said later is said now, and not again.
    pub(super) fn kick_now(&mut self, cx: &mut Context<'_>) {
        self.kick = None;
        if self.state == State::Established {
            self.tell_both(false, cx);
        }
    }

    /// Tells both ends where they are. `repeated`: a segment of the client was dropped, which it repeats at once when
    /// three acknowledgements say so (RFC 5681 section 3.2).
    pub(crate) fn kick(&mut self, repeated: bool, cx: &mut Context<'_>) {
        self.tell_both(repeated, cx);
        self.kick = Some(Kick {
            at: cx.now.after(FIRST),
            left: TIMES,
        });
    }

    fn tell_both(&mut self, repeated: bool, cx: &mut Context<'_>) {
        for _ in 0..if repeated { 3 } else { 1 } {
            self.ack_client(cx);
        }
        self.ack_replacement(cx);
    }

    /// Says it again if it is time.
    pub(super) fn kick_again(&mut self, cx: &mut Context<'_>) {
        let Some(kick) = self.kick.filter(|kick| kick.at <= cx.now) else {
            return;
        };
        let said = TIMES - kick.left + 1;
        self.kick = (kick.left > 1).then(|| Kick {
            at: cx.now.after(FIRST * (1 << said)),
            left: kick.left - 1,
        });
        if self.state == State::Established {
            self.tell_both(false, cx);
        }
    }
}
