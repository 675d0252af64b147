// SPDX-License-Identifier: GPL-3.0-only
//! The kinds of services that an engine knows: names, and who makes a plug-in for a connection.

use std::fmt;
use std::sync::Arc;

use super::dialogue::Talk;
use super::{Defined, Opaque, Service, ftp, http, redis};
use crate::control::ServiceSpec;

/// The kinds that every engine knows.
pub const KINDS: [&str; 4] = ["opaque", "http", "redis", "ftp"];

/// Makes the plug-in of one new connection.
#[derive(Clone)]
pub(crate) struct Maker(Arc<dyn Fn() -> Box<dyn Service> + Send + Sync>);

impl Maker {
    fn new<S: Service + 'static>(make: impl Fn() -> S + Send + Sync + 'static) -> Self {
        Self(Arc::new(move || Box::new(make())))
    }

    /// One for a new connection.
    pub(crate) fn make(&self) -> Box<dyn Service> {
        (self.0)()
    }

    /// Makes those of connections that this one's announce; `None`: they announce none.
    pub(crate) fn linked(&self) -> Option<Self> {
        let make = Arc::clone(&self.0);
        let opaque = || Box::<Opaque>::default() as Box<dyn Service>;
        self.make().linked()?;
        Some(Self(Arc::new(move || {
            make().linked().unwrap_or_else(opaque)
        })))
    }
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Maker({})", self.make().kind())
    }
}

/// Why there are no plug-ins for a service.
pub(crate) enum Unusable {
    /// Its kind is none of these.
    Unknown(String),
    /// Its definition is none.
    Definition(String),
}

/// The kinds of services that an engine knows, by name. The default are the [`KINDS`]; a program that holds an engine
/// adds its own:
///
/// ```
/// use fttcp::engine::{Engine, EngineConfig};
/// use fttcp::service::{Kinds, Opaque};
///
/// let mut kinds = Kinds::default();
/// kinds.add("echo", Opaque::default);
/// let engine = Engine::new(EngineConfig { kinds, ..EngineConfig::default() });
/// # drop(engine);
/// ```
#[derive(Clone)]
pub struct Kinds(Vec<(String, Maker)>);

impl Default for Kinds {
    fn default() -> Self {
        let mut kinds = Self(Vec::new());
        kinds.add(KINDS[0], Opaque::default);
        kinds.add(KINDS[1], http::Http::default);
        kinds.add(KINDS[2], || Talk::new(redis::Redis::default()));
        kinds.add(KINDS[3], ftp::Ftp::default);
        #[cfg(any(test, feature = "sim"))]
        kinds.add("exchange", super::exchange::Exchange::default);
        kinds
    }
}

impl Kinds {
    /// Adds a kind, in the place of one of this name. `make` is called once for each connection. [`Service::kind`] of what
    /// it makes should say `name`, which then stands in the journal.
    pub fn add<S: Service + 'static>(
        &mut self,
        name: &str,
        make: impl Fn() -> S + Send + Sync + 'static,
    ) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), Maker::new(make)));
    }

    /// The names, in the order in which they came.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A plug-in of this kind for a new connection; `None`: there is no such kind.
    #[must_use]
    pub fn plugin(&self, kind: &str) -> Option<Box<dyn Service>> {
        let found = self.0.iter().find(|(name, _)| name == kind);
        found.map(|(_, make)| make.make())
    }

    /// Who makes the plug-ins of this service.
    pub(crate) fn maker(&self, spec: &ServiceSpec) -> Result<Maker, Unusable> {
        let Some(text) = &spec.definition else {
            let found = self.0.iter().find(|(name, _)| *name == spec.kind);
            let found = found.map(|(_, make)| make.clone());
            return found
                .ok_or_else(|| Unusable::Unknown(self.names().collect::<Vec<_>>().join(", ")));
        };
        let defined =
            Defined::parse(text).map_err(|error| Unusable::Definition(error.to_string()))?;
        if defined.name() != spec.kind {
            let name = defined.name();
            return Err(Unusable::Definition(format!(
                "it defines {name}; give that as the kind"
            )));
        }
        Ok(Maker::new(move || defined.plugin()))
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
