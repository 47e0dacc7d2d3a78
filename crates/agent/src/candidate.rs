//! A spec that somebody proposes, and what this node makes of it.

use hafleet_api::Failure;
use hafleet_api::fleet::Steps;
use hafleet_haproxy::{CheckError, Inspector, Rendered};
use hafleet_model::spec::{self, Finding, Findings, LoadedSpec};
use hafleet_model::with_causes;

/// A valid spec and its configuration for this node.
pub(crate) struct Candidate {
    loaded: LoadedSpec,
    rendered: Rendered,
}

impl Candidate {
    /// Reads, validates and renders `text`.
    pub(crate) fn read(text: &str, inspector: &Inspector) -> Result<Self, Failure> {
        let loaded = spec::load(text).map_err(Failure::InvalidSpec)?;
        match inspector.render(&loaded.spec) {
            Ok(rendered) => Ok(Self { loaded, rendered }),
            Err(error) => {
                let findings = error.0.0.into_iter().map(|finding| loaded.locate(finding));
                Err(Failure::InvalidSpec(Findings(findings.collect())))
            }
        }
    }

    /// The configuration.
    pub(crate) fn rendered(&self) -> &Rendered {
        &self.rendered
    }

    /// Asks HAProxy itself, which has the last word; returns what it warns of.
    pub(crate) async fn check(&self, inspector: &Inspector) -> Result<Vec<Finding>, Failure> {
        match inspector.check(&self.rendered).await {
            Ok(warnings) => Ok(self.locate(warnings)),
            Err(CheckError::Invalid(findings)) => {
                Err(Failure::InvalidSpec(Findings(self.locate(findings.0))))
            }
            Err(error) => Err(Failure::Internal(with_causes(&error))),
        }
    }

    /// What it would take to run it here.
    pub(crate) async fn plan(&self, inspector: &Inspector) -> Result<Steps, String> {
        let plan = inspector
            .plan(&self.rendered)
            .await
            .map_err(|error| with_causes(&error))?;
        Ok(Steps {
            change: plan.change,
            steps: plan.steps.iter().map(ToString::to_string).collect(),
            reason: plan.reason,
        })
    }

    fn locate(&self, findings: Vec<Finding>) -> Vec<Finding> {
        findings
            .into_iter()
            .map(|finding| self.loaded.locate(finding))
            .collect()
    }
}
