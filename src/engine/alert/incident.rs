//! Jobs of a source that fail together: what the alert of a platform incident knows of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::observation::Name;
use super::super::time::Timestamp;

/// Jobs that fail together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Jobs that failed in it, by project id and name, `p1/orders`.
    pub members: BTreeMap<Name, Member>,
    /// Jobs that ran: the most that were seen within one window.
    pub ran: u32,
    /// The newest failure that belongs to it.
    pub last_failed_at: Timestamp,
}

/// A job that failed in an incident.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its first failure in the incident.
    pub failed_at: Timestamp,
    /// Its newest finished run is no failure any more.
    pub recovered_at: Option<Timestamp>,
}

impl Incident {
    /// How members are named.
    pub fn key(project_id: &str, job: &str) -> Name {
        format!("{project_id}/{job}").into()
    }

    /// Members that have not recovered.
    pub fn failing(&self) -> impl Iterator<Item = &Name> {
        let failing = |(_, member): &(&Name, &Member)| member.recovered_at.is_none();
        self.members.iter().filter(failing).map(|(name, _)| name)
    }

    /// The job failed in the incident, and has not recovered.
    pub fn is_failing(&self, project_id: &str, job: &str) -> bool {
        let member = self.members.get(&Self::key(project_id, job));
        member.is_some_and(|member| member.recovered_at.is_none())
    }
}
