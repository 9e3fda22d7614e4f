//! What a rule judges: a source, a receiver, a project, a job, a model of a job, or an objective.

use serde::{Deserialize, Serialize};

use super::labels::Labels;
use super::observation::{Name, ProjectKey};

/// Identity of a subject.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SubjectKey {
    /// A configured source.
    Source(Name),
    /// A configured receiver.
    Receiver(Name),
    /// An objective, by the name of its rule.
    Objective(Name),
    /// A project.
    Project(ProjectKey),
    /// A job; manual runs belong to [`MANUAL_JOB`].
    Job(ProjectKey, Name),
    /// A model as one job executes it: the same model in another job has another baseline.
    Model(ProjectKey, Name, Name),
}

/// Stands for the job of runs that have none.
pub const MANUAL_JOB: &str = "(manual)";

/// Stands for all jobs of a project together, where a source tells daily averages and no single runs: of the
/// project's runs, or of a model's executions.
pub const ALL_JOBS: &str = "(all jobs)";

impl SubjectKey {
    /// Labels that identify the subject, without anything that may change (names of projects do).
    pub fn identity(&self) -> Labels {
        let labels = Labels::default();
        match self {
            Self::Source(name) => labels.with("source", name.clone()),
            Self::Receiver(name) => labels.with("receiver", name.clone()),
            Self::Objective(name) => labels.with("objective", name.clone()),
            Self::Project(project) => labels
                .with("source", project.source.clone())
                .with("project_id", project.project_id.clone()),
            Self::Job(project, job) => labels
                .with("source", project.source.clone())
                .with("project_id", project.project_id.clone())
                .with("job", job.clone()),
            Self::Model(project, job, model) => labels
                .with("source", project.source.clone())
                .with("project_id", project.project_id.clone())
                .with("job", job.clone())
                .with("model", model.clone()),
        }
    }

    /// All jobs of a project together: known by daily averages alone.
    pub fn is_averaged(&self) -> bool {
        match self {
            Self::Job(_, job) | Self::Model(_, job, _) => &**job == ALL_JOBS,
            _ => false,
        }
    }

    /// The project, for subjects inside one.
    pub fn project(&self) -> Option<&ProjectKey> {
        match self {
            Self::Source(_) | Self::Receiver(_) | Self::Objective(_) => None,
            Self::Project(project) | Self::Job(project, _) | Self::Model(project, _, _) => {
                Some(project)
            }
        }
    }
}
