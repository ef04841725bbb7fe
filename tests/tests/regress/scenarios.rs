//! The scenarios, against the pool and against the naive one.

use wharf_tests::{
    every_scenario,
    regress::{Naive, Scenario},
};

/// The pool stands, and the scenario shows of the naive one what it is said to:
/// that is how it is known that it can fail.
fn proves(name: &str) {
    let scenario = Scenario::of(name);
    if let Err(what) = scenario.here() {
        panic!("{what}");
    }
    match (scenario.there(), scenario.naive) {
        (Ok(()), Naive::Passes) | (Err(_), Naive::Fails) => {}
        (Ok(()), Naive::Fails) => panic!("the naive pool passes, so that nothing is shown"),
        (Err(what), Naive::Passes) => panic!("the naive pool fails, which nobody knew: {what}"),
    }
}

macro_rules! tests {
    ($($part:ident { $($name:ident: $naive:ident,)* })*) => {
        $($(#[test] fn $name() { proves(stringify!($name)); })*)*
    };
}

every_scenario!(tests);
