// SPDX-License-Identifier: GPL-3.0-only
//! Where a drill goes on: what can be done to a service there.
//!
//! Who lives here: the trait; `netns`, namespaces and processes of this machine; `lab`, domains on real Xen.

pub mod lab;
pub mod netns;

use crate::engine::Told;
use crate::load::Target;
use crate::plan::Act;

/// A client at work.
pub type Task = Box<dyn FnOnce() + Send>;

/// Takes what a stage tells; the times in it count from when the clients began.
pub type Tell<'a> = &'a dyn Fn(Told);

/// A place with a service, its clients, and somebody who can hurt it. It is torn down when it is dropped.
pub trait Stage: Send {
    /// What is in use: kernels and programs with their versions, one line each.
    fn facts(&self) -> Vec<String>;

    /// What the logger has said.
    fn log(&self) -> String;

    /// Where clients find the service.
    fn target(&self) -> Target;

    /// Lets a client work where clients are.
    ///
    /// # Errors
    /// There is no such place any more.
    fn spawn(&self, client: Task) -> Result<(), String>;

    /// Lets this happen now. What came of it is told then or by [`Self::poll`].
    ///
    /// # Errors
    /// It could not be made to happen; the drill is over.
    fn act(&mut self, act: Act, clock: Clock<'_>) -> Result<(), String>;

    /// Replaces the active server, which stands still.
    ///
    /// # Errors
    /// As [`Self::act`].
    fn replace(&mut self, reason: &str, clock: Clock<'_>) -> Result<(), String>;

    /// Wakes up the server that stands still, or stood still when it was replaced.
    ///
    /// # Errors
    /// As [`Self::act`].
    fn wake(&mut self, clock: Clock<'_>) -> Result<(), String>;

    /// Looks whether anything has come of what was done; called every few milliseconds.
    ///
    /// # Errors
    /// As [`Self::act`].
    fn poll(&mut self, clock: Clock<'_>) -> Result<(), String>;
}

/// The drill's time, and who is told.
#[derive(Clone, Copy)]
pub struct Clock<'a> {
    /// When the clients began.
    pub start: std::time::Instant,
    /// Takes what is told.
    pub tell: Tell<'a>,
}

impl std::fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}

impl Clock<'_> {
    /// The time since then.
    #[must_use]
    pub fn now(&self) -> std::time::Duration {
        self.start.elapsed()
    }

    /// What was ordered is happening, since `at`.
    pub fn begun(&self, at: std::time::Duration, what: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        (self.tell)(Told::Begun { at, what, detail });
    }

    /// Something else for the timeline, now.
    pub fn note(&self, what: &'static str, detail: impl Into<String>) {
        let (at, detail) = (self.now(), detail.into());
        (self.tell)(Told::Note { at, what, detail });
    }
}
