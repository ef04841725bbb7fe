//! Which request meets which fault.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{Arrival, Fault, When};

/// The rules by which an upstream does wrong. It can be changed while the
/// upstream runs; clones are the same script.
///
/// Every rule counts what it is about, and of those whose turn it is the first
/// one decides.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Vec<Rule>>>);

#[derive(Debug)]
struct Rule {
    when: When,
    fault: Fault,
    /// How often its conditions have held.
    met: u64,
}

// === impl Script ===

impl Script {
    /// A script without rules: nothing goes wrong.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The script with one more rule.
    #[must_use]
    pub fn on(self, when: When, fault: impl Into<Fault>) -> Self {
        self.push(when, fault);
        self
    }

    /// Adds a rule, which counts from now on.
    pub fn push(&self, when: When, fault: impl Into<Fault>) {
        self.rules().push(Rule { when, fault: fault.into(), met: 0 });
    }

    /// Takes all rules out.
    pub fn clear(&self) {
        self.rules().clear();
    }

    /// What goes wrong with this request.
    pub(super) fn fault_of(&self, arrival: &Arrival) -> Fault {
        self.decide(|when| when.holds_for(arrival))
    }

    /// What goes wrong with the connection that was just accepted.
    pub(super) fn fault_of_connection(&self) -> Fault {
        self.decide(When::is_about_connections)
    }

    fn decide(&self, holds: impl Fn(&When) -> bool) -> Fault {
        let mut decided = None;
        for rule in self.rules().iter_mut().filter(|rule| holds(&rule.when)) {
            rule.met += 1;
            if decided.is_none() && rule.when.is_turn_of(rule.met) {
                decided = Some(rule.fault.clone());
            }
        }
        decided.unwrap_or(Fault::None)
    }

    fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        // A condition that panics is a failed test, and its message is enough.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules().iter()).finish()
    }
}
