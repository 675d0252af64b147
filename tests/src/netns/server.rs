// SPDX-License-Identifier: GPL-3.0-only
//! One server: what a domain would be. A namespace behind an interface of the logger's, and the programs in it.

use super::folder::Folder;
use super::kv;
use super::layout::{Layout, SERVER_MAC};
use super::line::Line;
use super::nginx::Nginx;
use super::process::Running;
use super::service::{Serves, Service};
use super::space::{Space, join};
use super::storm;
use super::topology::{SERVER, SERVER6};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Server {
    // Programs end before their namespace.
    nginx: Option<Nginx>,
    service: Option<Service>,
    storm: Option<Running>,
    kv: Option<Running>,
    chain: Option<Running>,
    _line: Option<Line>,
    pub(super) space: Space,
    pub(super) vif: String,
}

impl Server {
    /// A server behind the interface `vif` of `middle`, which is made; its number is the interface's. Nothing runs on it.
    pub(super) fn new(middle: &Space, vif: &str, layout: &Layout) -> Result<Self, String> {
        let space = Space::new(vif)?;
        let number: usize = vif.trim_start_matches("vif").parse().unwrap_or(1);
        space.sysctls(layout.server_kernels[(number + 1) % 2])?;
        let ends = ((&space, "eth0"), (middle, vif));
        let line = match &layout.south_line() {
            Some(line) => Some(Line::between(ends.0, ends.1, line)?),
            None => join(ends.0, ends.1).map(|()| None)?,
        };
        layout.prepare_path(middle, vif)?;
        layout.prepare_end(&space, Some(SERVER_MAC), [SERVER, SERVER6])?;
        Ok(Self {
            nginx: None,
            service: None,
            storm: None,
            kv: None,
            chain: None,
            _line: line,
            space,
            vif: vif.to_owned(),
        })
    }

    /// Starts its programs.
    pub(super) fn start(&mut self, layout: &Layout, folder: &Folder) -> Result<(), String> {
        let (files, prefix) = (
            folder.path().join("files"),
            folder.path().join(self.space.name()),
        );
        match layout.serves {
            Serves::Web => {
                let nginx = Nginx::start(&self.space, &files, &prefix, layout.nginx)?;
                self.nginx = Some(nginx);
            }
            other => self.service = Some(Service::start(other, &self.space, &files, &prefix)?),
        }
        if let Some(program) = &layout.storm {
            let command = self.space.command(&program.display().to_string());
            self.storm = Some(Running::start("storm-server", command, storm::READY)?);
        }
        if let Some(program) = &layout.kv {
            let mut command = self.space.command(&program.display().to_string());
            command.arg(&files);
            self.kv = Some(Running::start("kv-server", command, kv::READY)?);
        }
        if let Some(chain) = &layout.chain {
            let process = chain.start(&self.space, folder.path(), &self.vif)?;
            self.chain = Some(process);
        }
        Ok(())
    }

    /// Ends its programs.
    pub(super) fn stop(&mut self) {
        self.nginx = None;
        self.service = None;
        self.storm = None;
        self.kv = None;
        self.chain = None;
    }

    /// Its running programs.
    pub(super) fn programs(&self) -> Vec<&Running> {
        let nginx = self.nginx.as_ref().map(Nginx::process);
        let service = self.service.as_ref().map(Service::process);
        nginx
            .into_iter()
            .chain(service)
            .chain(&self.storm)
            .chain(&self.kv)
            .chain(&self.chain)
            .collect()
    }
}
