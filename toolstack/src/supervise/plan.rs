// SPDX-License-Identifier: GPL-3.0-only
//! What an operator wants of a service group: who its members are, how their failure is found, and what follows.
//!
//! A plan is complete: whoever has it needs no file any more. [`super::group_file`] makes it of a file.

use fttcp::control::{Outbound, ServiceSpec};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::DomainConfig;

/// In a member's configuration, what its number is put in place of: in the kernel command line, in the targets of
/// disks and in names of interfaces.
pub const NUMBER: &str = "{n}";

/// A service group as declared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupPlan {
    /// The group's name.
    pub name: String,
    /// The domain in which `ftlogger` runs.
    pub logger: String,
    /// The logger's interface towards the clients.
    pub north: String,
    /// The TCP services to protect; none: a failover only moves the path.
    pub services: Vec<ServiceSpec>,
    /// The services' programs run under the north side wrap: a replacement goes through the record of the one before it.
    #[serde(default)]
    pub wrap: bool,
    /// What becomes of connections that the service itself opens.
    pub outbound: Outbound,
    /// What the first member is made from, and all others unless `standby` says otherwise.
    pub member: Image,
    /// What standbys are made from, if not from the same: another version, another server.
    pub standby: Option<Image>,
    /// How many standbys there are to be.
    pub standbys: u32,
    /// How they wait.
    pub mode: StandbyMode,
    /// How long after its network interface is connected (and its heart beats and its service answers, if that is looked
    /// at) a member counts as ready, in ms.
    pub ready_after_ms: u64,
    /// How long it may take until then, in ms.
    pub boot_timeout_ms: u64,
    /// A member whose heartbeat stands still for so many ms hangs.
    pub heartbeat_ms: Option<u64>,
    /// A member whose service the agent has not found answering for so many ms hangs.
    #[serde(default)]
    pub progress_ms: Option<u64>,
    /// An active member of which the logger hears nothing for so many ms, though it asks, hangs.
    pub silence_ms: Option<u64>,
    /// An active member whose service has answered no client anything for so many ms, though some wait, hangs.
    #[serde(default)]
    pub request_ms: Option<u64>,
    /// What a failure leads to.
    pub on_failure: OnFailure,
    /// The last member that failed is kept, paused if it lives, instead of being destroyed.
    pub keep_for_autopsy: bool,
    /// After so many failovers within `within_ms` no more standbys are made.
    pub most_failovers: u32,
    /// See `most_failovers`.
    pub within_ms: u64,
}

impl GroupPlan {
    /// What the next standby is made from.
    #[must_use]
    pub fn standby_image(&self) -> &Image {
        self.standby.as_ref().unwrap_or(&self.member)
    }
}

/// What members are made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The file that it was read from.
    pub source: String,
    /// The configuration, with [`NUMBER`] where the member's number goes.
    pub config: Box<DomainConfig>,
    /// Which of its network interfaces is served by the logger.
    pub devid: usize,
}

impl Image {
    /// The configuration of member `number`, which is called `NAME-NUMBER`.
    #[must_use]
    pub fn member(&self, number: u32, uuid: Uuid) -> DomainConfig {
        let mut config = (*self.config).clone();
        let digits = number.to_string();
        config.name = self.name(number);
        config.uuid = uuid;
        config.cmdline = config.cmdline.replace(NUMBER, &digits);
        for disk in &mut config.disks {
            if let Some(target) = disk.target.to_str() {
                disk.target = target.replace(NUMBER, &digits).into();
            }
        }
        for vif in &mut config.vifs {
            vif.vifname = vif
                .vifname
                .as_ref()
                .map(|name| name.replace(NUMBER, &digits));
        }
        config
    }

    /// The name of member `number`.
    #[must_use]
    pub fn name(&self, number: u32) -> String {
        format!("{}-{number}", self.config.name)
    }
}

/// How a standby waits for its turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StandbyMode {
    /// It runs, and the logger keeps it dark.
    #[default]
    Booted,
    /// It was started, and is paused: it takes memory, but no processor time.
    Paused,
    /// It runs, as a booted one does, and was made of an image in Dom0's memory instead of booting.
    Prebuilt,
}

/// What the failure of an active member leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Its connections are moved to a standby.
    #[default]
    Failover,
    /// Of one that hangs it is only told. One that has ended is failed over all the same: there is nothing to spare.
    Notify,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_differ_by_name_handle_and_where_their_number_is_asked_for() {
        let text = "name = 'web'\nkernel = '/k'\nmemory = 64\ncmdline = 'ip=10.0.0.{n}'\n\
                    disk = ['format=raw,vdev=xvda,access=rw,target=/disks/web-{n}.img']\n\
                    vif = ['mac=00:16:3e:00:00:01,backend=logger,vifname=web{n}']\n";
        let loaded = crate::config::parse("web.cfg", text.as_bytes(), &[]).unwrap();
        let image = Image {
            source: "web.cfg".into(),
            config: Box::new(loaded.config),
            devid: 0,
        };
        let member = image.member(7, Uuid::from_u128(9));
        assert_eq!(
            (member.name.as_str(), member.uuid),
            ("web-7", Uuid::from_u128(9))
        );
        assert_eq!(member.cmdline, "ip=10.0.0.7");
        assert_eq!(member.disks[0].target.to_str(), Some("/disks/web-7.img"));
        assert_eq!(member.vifs[0].vifname.as_deref(), Some("web7"));
    }
}
