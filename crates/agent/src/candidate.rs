//! A spec that somebody proposes, and what this node makes of it.

use hafleet_api::Failure;
use hafleet_api::fleet::Steps;
use hafleet_haproxy::{CheckError, Inspector, RenderError, Rendered};
use hafleet_model::endpoints::effective_spec;
use hafleet_model::spec::{self, Finding, Findings, LoadedSpec};
use hafleet_model::{Endpoints, Spec, with_causes};

use crate::overrides::ServerOverrides;

/// A valid spec and its configuration for this node.
pub(crate) struct Candidate {
    loaded: LoadedSpec,
    /// With the servers and services that discovery found.
    rendered: Rendered,
    /// Without them; none where that is the same.
    alone: Option<Rendered>,
    /// Why it cannot have them.
    problem: Option<Finding>,
}

impl Candidate {
    /// Reads, validates and renders `text`, with what discovery found and what operators ask of servers. That has no say
    /// in whether it is valid.
    pub(crate) fn read(
        text: &str,
        inspector: &Inspector,
        endpoints: &Endpoints,
        overrides: &ServerOverrides,
    ) -> Result<Self, Failure> {
        let loaded = spec::load(text).map_err(Failure::InvalidSpec)?;
        let render = |mut spec: Spec| {
            overrides.weigh(&mut spec);
            let mut rendered = inspector.render(&spec)?;
            overrides.ask_states(&mut rendered);
            Ok::<_, RenderError>(rendered)
        };
        let alone = render(loaded.spec.clone()).map_err(|error| {
            let findings = error.0.0.into_iter().map(|finding| loaded.locate(finding));
            Failure::InvalidSpec(Findings(findings.collect()))
        })?;
        let zone = inspector.node().zone.as_deref();
        let spec = effective_spec(&loaded.spec, endpoints, zone);
        let (rendered, alone, problem) = if spec == loaded.spec {
            (alone, None, None)
        } else {
            match render(spec) {
                Ok(rendered) => (rendered, Some(alone), None),
                Err(error) => (alone, None, Some(of_endpoints(&error.0))),
            }
        };
        Ok(Self {
            loaded,
            rendered,
            alone,
            problem,
        })
    }

    /// The configuration.
    pub(crate) fn rendered(&self) -> &Rendered {
        &self.rendered
    }

    /// Asks HAProxy itself, which has the last word; returns what is to be known of it.
    pub(crate) async fn check(&self, inspector: &Inspector) -> Result<Vec<Finding>, Failure> {
        let mut warnings: Vec<_> = self.problem.iter().cloned().collect();
        let checked = match (inspector.check(&self.rendered).await, &self.alone) {
            (Err(CheckError::Invalid(findings)), Some(alone)) => {
                let checked = inspector.check(alone).await;
                if checked.is_ok() {
                    warnings.push(of_endpoints(&findings));
                }
                checked
            }
            (checked, _) => checked,
        };
        match checked {
            Ok(findings) => {
                warnings.extend(self.locate(findings));
                Ok(warnings)
            }
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

/// What discovery found does not go with the spec, which is no fault of the spec.
fn of_endpoints(findings: &Findings) -> Finding {
    let words = format!(
        "what discovery found does not go with this spec, and nodes would keep the endpoints that they have: {findings}"
    );
    Finding::new("", words)
}
