// SPDX-License-Identifier: GPL-3.0-only
//! A plug-in in the image of its connection: its kind and what it remembers.
//!
//! Who reads an image does not know who makes plug-ins. What is read is [`Saved`], which does nothing but say the same
//! again, until [`revive`] puts a plug-in in its place.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Maker, Restart, Service};

/// A plug-in as it was saved.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    kind: String,
    state: Vec<u8>,
}

impl Service for Saved {
    fn server_bytes(&mut self, _: u64, _: &[u8]) {}

    fn rewind(&mut self, _: Restart) {}

    fn close_expected(&self, _: u64) -> bool {
        false
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn save(&self) -> Vec<u8> {
        self.state.clone()
    }

    fn restore(&mut self, _: &[u8]) -> bool {
        false
    }
}

/// Puts a plug-in that goes on where the saved one stood in its place. False: it does not know what was saved, and
/// nothing changed.
pub(crate) fn revive(plugin: &mut Box<dyn Service>, make: &Maker) -> bool {
    let mut fresh = make.make();
    let revived = fresh.kind() == plugin.kind() && fresh.restore(&plugin.save());
    if revived {
        *plugin = fresh;
    }
    revived
}

/// Puts what was saved with postcard in the place of `state`, if it is sound. False: nothing changed.
pub(super) fn restore<T: DeserializeOwned>(
    state: &mut T,
    saved: &[u8],
    is_sound: impl Fn(&T) -> bool,
) -> bool {
    let restored = postcard::from_bytes(saved).ok().filter(is_sound);
    let sound = restored.is_some();
    if let Some(restored) = restored {
        *state = restored;
    }
    sound
}

pub(crate) fn serialize<S: Serializer>(
    plugin: &Option<Box<dyn Service>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let saved = plugin.as_ref().map(|plugin| (plugin.kind(), plugin.save()));
    saved.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<dyn Service>>, D::Error> {
    let saved: Option<Saved> = Option::deserialize(deserializer)?;
    Ok(saved.map(|saved| Box::new(saved) as Box<dyn Service>))
}
