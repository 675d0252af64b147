// SPDX-License-Identifier: GPL-3.0-only
//! What crosses the border between protocol logic and I/O: ports, frames with their offload state, and time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::flow::{FlowKey, FlowState, Record, Route};
use crate::journal::Log;

/// One network interface of the logger, numbered by the data path in the order of opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortId(pub u32);

/// Monotonic time in microseconds since an arbitrary start. Protocol logic never reads a clock; it is told.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The time `delta` later.
    #[must_use]
    pub fn after(self, delta: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(delta.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    /// This moment on another clock, which shows `to` when this one shows `from`. What lies before the other
    /// clock's start becomes its start.
    #[must_use]
    pub const fn moved(self, from: Self, to: Self) -> Self {
        if self.0 >= from.0 {
            Self(to.0.saturating_add(self.0 - from.0))
        } else {
            Self(to.0.saturating_sub(from.0 - self.0))
        }
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// How a frame's segmentation and checksum are left to a device (`struct virtio_net_hdr`, virtio 1.2 section 5.1.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offload {
    /// The TCP checksum field holds only the pseudo-header's sum (`CHECKSUM_PARTIAL`): whoever sends the frame
    /// on completes it. Rewriting ports, sequence numbers or options then needs no checksum update.
    pub partial_checksum: Option<PartialChecksum>,
    /// The kernel has verified the checksum already (`VIRTIO_NET_HDR_F_DATA_VALID`).
    pub checksum_valid: bool,
    /// Payload bytes per segment if the frame is a super-segment (GSO/TSO), else `None`.
    pub gso_size: Option<u16>,
    /// The super-segment carries CWR on its first segment only (`VIRTIO_NET_HDR_GSO_ECN`).
    pub gso_ecn: bool,
}

/// Where a partial checksum starts and where it is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialChecksum {
    /// First byte summed, from the start of the frame.
    pub start: u16,
    /// Offset of the checksum field from `start`.
    pub offset: u16,
}

/// Frames that have come in together.
pub trait Frames {
    /// How many.
    fn count(&self) -> usize;

    /// The frame with this number, counted from 0; the same at each call. `None`: it came in without being whole.
    fn frame(&mut self, index: usize) -> Option<(&mut [u8], Offload)>;
}

/// One frame.
impl Frames for (&mut [u8], Offload) {
    fn count(&self) -> usize {
        1
    }

    fn frame(&mut self, _: usize) -> Option<(&mut [u8], Offload)> {
        Some((self.0, self.1))
    }
}

/// Takes the frames that protocol logic wants sent, and the connections that it need not see for a while. A frame is
/// valid during the call only. A data path without a fast path only transmits.
pub trait Output {
    /// Sends `frame` (a whole Ethernet frame) out of `port`. A frame that cannot be sent now is dropped and
    /// counted by the data path: TCP retransmits.
    fn transmit(&mut self, port: PortId, frame: &[u8], offload: &Offload);

    /// Takes what the engine has for its journal. Records must be out of this process (written to a file) before the
    /// next frame is sent.
    fn log(&mut self, log: Log<'_>) {
        let _ = log;
    }

    /// Tells what is to become of the frames of `port` from now on.
    fn route(&mut self, port: PortId, route: Route) {
        let _ = (port, route);
    }

    /// Tells which TCP ports of a group's servers are protected; segments of others pass unseen. `outbound`: the
    /// connections that servers open must be seen too.
    fn services(&mut self, group: u32, ports: &[u16], outbound: bool) {
        let _ = (group, ports, outbound);
    }

    /// Gives a connection to the fast path. False: it was not taken.
    fn offload(&mut self, key: &FlowKey, state: &FlowState) -> bool {
        let _ = (key, state);
        false
    }

    /// The state of a connection that the fast path has, which it keeps.
    fn peek(&mut self, key: &FlowKey) -> Option<FlowState> {
        let _ = key;
        None
    }

    /// Takes a connection back from the fast path: its last state, or `None` if the fast path does not have it. What
    /// [`Output::records`] gives after this must be handled before the state is used.
    fn reclaim(&mut self, key: &FlowKey) -> Option<FlowState> {
        let _ = key;
        None
    }

    /// Shows `each` what the fast path has copied out since the last call, in the order of its doing so.
    fn records(&mut self, each: &mut dyn FnMut(&Record<'_>)) {
        let _ = each;
    }

    /// What was read by [`Output::records`], and given by [`Output::reclaim`], is in the journal, or there is none. Before,
    /// it must survive the end of this process.
    fn release(&mut self) {}
}
