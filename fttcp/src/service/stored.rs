// SPDX-License-Identifier: GPL-3.0-only
//! A plug-in in the image of its connection: its kind and what it remembers.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Service, by_kind};

pub(crate) fn serialize<S: Serializer>(
    plugin: &Option<Box<dyn Service>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let stored = plugin.as_ref().map(|plugin| (plugin.kind(), plugin.save()));
    stored.serialize(serializer)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<dyn Service>>, D::Error> {
    let stored: Option<(String, Vec<u8>)> = Option::deserialize(deserializer)?;
    let Some((kind, saved)) = stored else {
        return Ok(None);
    };
    by_kind(&kind)
        .and_then(|mut plugin| plugin.restore(&saved).then_some(Some(plugin)))
        .ok_or_else(|| D::Error::custom("a plug-in that is not known here"))
}
