//! Plays every scenario, and the mixed load, with the pool of `wharf-pool` and
//! with the naive one beside it, and says how each came out.
//!
//! A line a scenario: `scenario`, its name, and for each pool nothing or what
//! was expected and not so. Then a line a pool: `load`, which, and what became
//! of the calls. The parts of a line stand between tabs; `cargo xtask regress`
//! reads them.

#![expect(clippy::print_stdout, reason = "to say how it came out is what it is for")]

use std::{panic, process::ExitCode};

use wharf_tests::regress::{
    Here, Outcome, There,
    load::{self, Losses},
    scenarios::ALL,
};

fn main() -> ExitCode {
    // What a scenario panics with is its outcome, and told as such.
    panic::set_hook(Box::new(|_| {}));
    let mut stands = true;
    for scenario in ALL {
        let (here, there) = (scenario.here(), scenario.there());
        stands &= here.is_ok();
        println!("scenario\t{}\t{}\t{}", scenario.name, told(here), told(there));
    }
    stands &= tell_load("here", &load::lose::<Here>());
    tell_load("there", &load::lose::<There>());
    if stands { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn told(outcome: Outcome) -> String {
    outcome.err().map(|what| what.replace('\t', " ")).unwrap_or_default()
}

/// Says what became of the calls; whether none was lost.
fn tell_load(which: &str, losses: &Outcome<Losses>) -> bool {
    match losses {
        Ok(losses) => {
            println!("load\t{which}\t{losses}");
            for (reason, count) in &losses.reasons {
                println!("loss\t{which}\t{count}\t{reason}");
            }
            losses.lost + losses.crossed == 0 && losses.left_behind == 0
        }
        Err(what) => {
            println!("load\t{which}\t{what}");
            false
        }
    }
}
