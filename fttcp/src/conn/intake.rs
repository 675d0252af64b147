// SPDX-License-Identifier: GPL-3.0-only
//! How much of the client's words the present server's program has certainly read. What its TCP acknowledges may still wait
//! for the program: so much the window that TCP offers is smaller than the widest that it has offered.

/// See the module's text. It is the present server's, and begins anew with the next, and with another process of the logger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Intake {
    widest: u64,
    read: u64,
}

impl Intake {
    /// The server has acknowledged everything below `ack`, and has room for `window` bytes more.
    pub(crate) fn note(&mut self, ack: u64, window: u64) {
        self.widest = self.widest.max(window);
        let read = (ack + window).saturating_sub(self.widest);
        self.read = self.read.max(read);
    }

    /// Everything below this position was read.
    pub(crate) const fn read(self) -> u64 {
        self.read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fills_the_window_was_not_read() {
        let mut intake = Intake::default();
        for (ack, window, read) in [
            (0, 1000, 0),
            (400, 600, 0),
            (400, 900, 300),
            (500, 1000, 500),
            // It came late.
            (400, 600, 500),
            (900, 2000, 900),
            (1900, 1000, 900),
        ] {
            intake.note(ack, window);
            assert_eq!(intake.read(), read, "{ack} {window}");
        }
    }
}
