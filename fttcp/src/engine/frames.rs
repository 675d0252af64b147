// SPDX-License-Identifier: GPL-3.0-only
//! From a port to its group: frames in, frames out.

use super::probe::Heard;
use super::{Engine, Role};
use crate::frame::{Frames, Offload, Output, PortId, Time};

impl Engine {
    /// Takes one frame that came in on `port`: sends it on, sends others, or drops it.
    ///
    /// `frame` may be changed in place. It may be a super-segment (see [`Offload::gso_size`]).
    pub fn handle_frame(
        &mut self,
        now: Time,
        port: PortId,
        frame: &mut [u8],
        offload: Offload,
        out: &mut impl Output,
    ) {
        self.handle_frames(now, port, &mut (frame, offload), out);
    }

    /// The same for frames that came in together: the journal is written once for all of them.
    pub fn handle_frames(
        &mut self,
        now: Time,
        port: PortId,
        frames: &mut dyn Frames,
        out: &mut impl Output,
    ) {
        let Some(&(_, index, role)) = self.ports.iter().find(|&&(known, ..)| known == port) else {
            return;
        };
        self.journaled_frames(now, frames, out, |engine, frame, offload, out| {
            engine.take_frame(now, index, role, frame, offload, out)
        });
    }

    /// Says where the frame is to go.
    fn take_frame(
        &mut self,
        now: Time,
        index: usize,
        role: Role,
        frame: &mut [u8],
        offload: &Offload,
        out: &mut dyn Output,
    ) -> Option<PortId> {
        let group = self.groups[index].as_mut()?;
        let to = match role {
            Role::North => group.ports.active,
            Role::Active => {
                group.heard = Heard::at(now);
                group.ports.north
            }
            Role::Leaving => group.ports.north,
            Role::Standby | Role::Dead => {
                group.counters.dropped += 1;
                return None;
            }
        };
        let to = if group.services.is_empty() && group.leaving().is_none() {
            Some(to)
        } else {
            self.protect(now, index, role, frame, offload, out)
        };
        self.start_queued(now, index, out);
        let to = to?;
        self.groups[index].as_mut()?.counters.frames += 1;
        self.ready.extend(self.touched.take());
        Some(to)
    }
}
