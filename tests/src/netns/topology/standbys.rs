// SPDX-License-Identifier: GPL-3.0-only
//! Servers that come in the place of dead ones.

use fttcp::control::Request;

use super::{GROUP, Topology};
use crate::netns::server::Server;

impl Topology {
    /// After a failover: the standby is active now, and the dead server comes back as the new standby, as a domain
    /// would: its old interface goes away, and a new one comes.
    ///
    /// # Errors
    /// What could not be made.
    pub fn renew_standby(&mut self) -> Result<(), String> {
        self.active = 1 - self.active;
        self.restart_standby()
    }

    /// Ends the standby with its interface, and starts it anew.
    ///
    /// # Errors
    /// What could not be made.
    pub fn restart_standby(&mut self) -> Result<(), String> {
        let standby = &mut self.servers[1 - self.active];
        standby.stop();
        let vif = standby.vif.clone();
        self.middle.ip(&["link", "delete", &vif])?;
        self.wait_closed(&vif)?;
        self.replace_standby(&vif)
    }

    /// After a failover: the standby is active now, and another server with an interface of another name becomes the
    /// new standby. What is left of the dead one goes away.
    ///
    /// # Errors
    /// What could not be made.
    pub fn new_standby(&mut self) -> Result<(), String> {
        self.take_over();
        self.add_standby()
    }

    /// The standby has become the active server, and the other one lives on.
    pub fn take_over(&mut self) {
        self.active = 1 - self.active;
    }

    /// Another server with an interface of another name becomes the standby. What is left of the one that was goes away.
    ///
    /// # Errors
    /// What could not be made.
    pub fn add_standby(&mut self) -> Result<(), String> {
        self.vifs += 1;
        self.replace_standby(&format!("vif{}", self.vifs))
    }

    /// Another server becomes the standby behind the standby. What is left of an earlier one goes away.
    ///
    /// # Errors
    /// What could not be made.
    pub fn add_spare(&mut self) -> Result<(), String> {
        self.vifs += 1;
        let vif = format!("vif{}", self.vifs);
        self.spare = Some(self.started(&vif)?);
        self.announce(&vif)
    }

    /// After a failover: the standby is active now, and the spare server is its standby. What is left of the dead one stays as
    /// it is until there is another spare one.
    pub fn take_over_with_spare(&mut self) {
        if let Some(spare) = &mut self.spare {
            std::mem::swap(spare, &mut self.servers[self.active]);
        }
        self.take_over();
    }

    fn replace_standby(&mut self, vif: &str) -> Result<(), String> {
        self.servers[1 - self.active] = self.started(vif)?;
        self.announce(vif)
    }

    fn started(&self, vif: &str) -> Result<Server, String> {
        let mut server = Server::new(&self.middle, vif, &self.layout)?;
        server.start(&self.layout, &self.folder)?;
        Ok(server)
    }

    /// Tells the logger of another standby.
    fn announce(&self, vif: &str) -> Result<(), String> {
        let request = Request::AddStandby {
            group: GROUP.to_owned(),
            interface: vif.to_owned(),
        };
        self.logger()?.request(&request).map(drop)
    }
}
