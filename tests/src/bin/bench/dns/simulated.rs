//! Writes of stale leaders in simulation: the publisher's own, seeded, with everything going wrong that can.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::figure::Figure;

const NAME: &str = "writes of a stale leader applied, in simulation";

/// So many seeds, each with two to five leaders that stall, are cut off and lose answers. The zone is the witness.
///
/// The simulation is a test of its crate, and is built as such: it turns the clock itself, which no program that people run
/// is built for.
pub(super) fn measure(seeds: u32) -> Vec<Figure> {
    eprintln!("{seeds} seeds of the simulation of publication; it is built first");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    let ran = Command::new(cargo)
        .current_dir(repository.expect("the tests are in a folder of the repository"))
        // As `make test` builds it, so that nothing of others is built anew.
        .args(["test", "--quiet", "--workspace", "--test", "simulation"])
        .args(["--", "--exact", "--nocapture"])
        .arg("faults::no_leader_ever_undoes_what_its_superseder_wrote")
        .env("SEEDS", seeds.to_string())
        .output();
    let figure = match ran {
        Err(error) => Figure::missing(NAME, "batches", &format!("cargo: {error}")),
        Ok(ran) => {
            let said = String::from_utf8_lossy(&ran.stdout).into_owned();
            let sum = said.lines().find(|line| line.contains(" rounds, "));
            match (ran.status.success(), sum) {
                (true, Some(sum)) => Figure::exactly(NAME, 0.0, "batches", 0.0)
                    .beside(format!("{seeds} seeds: {sum}")),
                _ => {
                    eprintln!("{said}{}", String::from_utf8_lossy(&ran.stderr));
                    Figure::missing(NAME, "batches", "the simulation failed, see above")
                }
            }
        }
    };
    vec![figure]
}
