//! `hafleet plan`: what a spec would change, before anyone applies it.

use std::path::Path;

use hafleet_api::v1;
use hafleet_model::spec;

use super::read_text;
use crate::args::Target;
use crate::client::Client;
use crate::failure::{Exit, Failure};
use crate::print::{self, Printer, Tone, plain};

/// Shows the difference, and what each node would do.
pub(crate) async fn run(file: &Path, target: &Target, printer: Printer) -> Result<(), Failure> {
    let text = read_text(file)?;
    spec::load(&text).map_err(|findings| Failure::spec(file, &findings))?;
    let mut client = Client::connect(target).await?;
    let request = client.request(v1::PlanSpecRequest {
        spec: text,
        this_node_only: false,
    });
    let plan = client.admin.plan_spec(request).await;
    let plan = plan
        .map_err(|status| Failure::call_with_spec(&status, file))?
        .into_inner();
    printer.answer(&plan, for_people)?;
    match plan
        .nodes
        .iter()
        .filter(|node| !node.error.is_empty())
        .count()
    {
        0 => Ok(()),
        failed => Err(Failure::new(
            Exit::Failed,
            format!("{failed} of {} nodes would not take it", plan.nodes.len()),
        )),
    }
}

fn for_people(plan: &v1::PlanSpecResponse) -> String {
    let base = match plan.base_revision.as_str() {
        "" => "the fleet has no spec yet".to_owned(),
        base => format!("compared with revision {base}"),
    };
    let diff = if plan.diff.is_empty() {
        "no difference"
    } else {
        plan.diff.trim_end()
    };
    let rows = plan.nodes.iter().map(row).collect();
    let table = print::table(&["node", "change", "why"], rows);
    let steps = plan
        .nodes
        .iter()
        .filter(|node| !node.steps.is_empty())
        .map(|node| {
            let steps: Vec<_> = node.steps.iter().map(|step| format!("  {step}")).collect();
            format!("{}:\n{}", node.node_id, steps.join("\n"))
        });
    let steps: Vec<_> = steps.collect();
    format!("{base}\n\n{diff}\n\n{table}\n\n{}", steps.join("\n"))
}

fn row(node: &v1::NodePlan) -> Vec<(String, Tone)> {
    if !node.error.is_empty() {
        return vec![
            plain(&node.node_id),
            ("refused".to_owned(), Tone::Bad),
            plain(&node.error),
        ];
    }
    let tone = match node.change.as_str() {
        "nothing" | "runtime" => Tone::Good,
        _ => Tone::Warning,
    };
    vec![
        plain(&node.node_id),
        (node.change.clone(), tone),
        plain(&node.reason),
    ]
}
