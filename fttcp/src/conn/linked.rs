// SPDX-License-Identifier: GPL-3.0-only
//! Connections that belong together (see [`crate::service::Link`]): what the plug-in of one tells of another.

use super::{Connection, Context, State};
use crate::engine::Ends;
use crate::service::{Link, News};

impl Connection {
    /// What its last segment told of other connections. What it told of itself is seen to.
    pub(crate) fn news(&mut self, cx: &mut Context<'_>) -> Option<News> {
        loop {
            match self.plugin.as_mut()?.news()? {
                News::Encrypted => self.unprotect("its streams are encrypted", cx),
                news @ (News::Expects(_) | News::Over) => return Some(news),
            }
        }
    }

    /// How it is linked with others, unless it is over.
    pub(crate) fn link(&self) -> Option<Link> {
        let lives = matches!(self.state, State::Established | State::Recovering);
        let plugin = self.plugin.as_ref().filter(|_| lives)?;
        plugin.link()
    }

    /// It was announced by `control`.
    pub(crate) fn link_to(&mut self, control: Ends) {
        if let Some(plugin) = &mut self.plugin {
            plugin.linked_to(control);
        }
    }

    /// Who announced it says that the server has done what it was for: it may close, and if it has, the client is told.
    pub(crate) fn linked_is_over(&mut self, cx: &mut Context<'_>) {
        if let Some(plugin) = &mut self.plugin {
            plugin.linked_is_over();
        }
        if self.hold.is_some() && self.state == State::Established {
            self.release_hold(cx);
            self.check_closed(cx);
        }
    }
}
