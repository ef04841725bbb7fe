//! What has gone wrong with session pools, played on a stage.
//!
//! Each scenario is a function over a [`Kind`](super::Kind) of pool that panics
//! where the pool has the fault. Its name begins with the row of the table in
//! `docs/REGRESSIONS.md` that it is about.

use super::{Here, Outcome, There, play, play::Scene};

mod breaking;
mod closing;
mod ending;
mod failing;
mod opening;
mod owning;
mod probing;
mod sharing;
mod waiting;

/// A scenario, and what it is known to show of the naive pool.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// Its name, a sentence.
    pub name: &'static str,
    /// What it shows of the naive pool.
    pub naive: Naive,
    here: fn() -> Scene,
    there: fn() -> Scene,
}

/// What a scenario shows of the naive pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naive {
    /// It has the fault.
    Fails,
    /// It does not.
    Passes,
}

/// Calls `$then!` with the name and the verdict of every scenario.
#[macro_export]
macro_rules! every_scenario {
    ($then:path) => {
        $then! {
            owning {
                r3737_the_end_of_the_request_that_opened_a_session_harms_nobody_else: Fails,
                r3737_the_failure_of_one_call_cancels_no_other_request: Fails,
                r3737_a_call_that_is_given_up_ends_alone_and_is_cancelled_upstream: Fails,
                a1_a_session_outlives_the_caller_it_was_opened_for: Fails,
                a3_a_quiet_session_stays_open: Passes,
                a14_a_caller_that_gives_up_during_the_handshake_takes_no_room_with_it: Fails,
            }
            closing {
                a2_a_session_whose_upstream_hung_up_is_leased_no_more: Fails,
                a7_a_session_whose_stream_ended_is_leased_no_more: Fails,
                a8_a_session_is_closed_before_its_owner_has_heard_of_it: Fails,
                a10_a_connection_that_breaks_under_one_call_ends_no_session: Fails,
                a12_a_dead_session_that_is_given_back_as_broken_makes_room: Passes,
                a13_a_dead_session_that_is_given_back_as_good_makes_room: Fails,
                a18_of_several_idle_sessions_only_the_living_are_leased: Fails,
                b3_giving_back_a_session_that_has_ended_is_no_error_and_counts_once: Fails,
                b582e1f8c_a_session_that_broke_in_mid_call_is_not_used_again: Fails,
                r3605_the_first_call_after_an_upstream_went_away_does_not_pay_for_it: Fails,
                r9_after_a_restart_every_call_on_a_stale_session_is_answered: Fails,
                r10_a_session_found_dead_is_leased_to_nobody_again: Fails,
            }
            opening {
                a6_a_refused_connection_is_told_to_its_caller_at_once: Passes,
                a15_the_refusal_of_the_handshake_is_what_the_caller_hears: Fails,
                b7_what_was_half_open_is_taken_leave_of: Fails,
                b13_a_handshake_that_never_ends_is_given_up_and_taken_leave_of: Fails,
                b14_an_upstream_that_hangs_up_after_its_refusal_hides_it_from_nobody: Fails,
                b16_where_nothing_was_opened_nothing_is_closed_and_no_room_is_lost: Passes,
                r2_a_refused_handshake_makes_room_once_and_not_twice: Fails,
                r7_a_session_that_is_being_opened_when_the_pool_ends_is_closed: Fails,
            }
            waiting {
                r1_a_session_that_is_given_back_goes_to_who_waits: Fails,
                r1_the_end_of_a_session_serves_who_waits: Fails,
                r1_more_callers_than_sessions_are_all_served: Fails,
                r6_a_session_goes_back_to_where_it_came_from: Fails,
                r11_calls_on_one_session_run_at_once: Passes,
                r5079_answers_in_another_order_find_their_callers: Passes,
            }
            sharing {
                r4205_two_clients_of_one_user_have_sessions_of_their_own: Fails,
                r2055_two_users_with_one_credential_have_sessions_of_their_own: Fails,
                r1924_calls_that_follow_each_other_share_one_handshake: Passes,
                r3952_sessions_of_rotated_tokens_end_without_anybody_asking: Fails,
                r4029_keys_that_lead_nowhere_are_forgotten: Fails,
            }
            failing {
                r12_an_upstreams_death_is_heard_at_once_by_every_call_under_way: Fails,
                r13_a_503_is_told_to_its_caller_at_once: Fails,
                r4029_a_dead_owner_keeps_nobody_from_the_next_session: Fails,
            }
            probing {
                r5_an_upstream_that_hangs_is_not_taken_to_work: Fails,
                r9_a_restart_is_found_out_once_for_all_idle_sessions: Fails,
                b1_a_probe_has_the_time_that_is_configured: Fails,
            }
            breaking {
                r8_who_comes_while_a_breaker_is_open_is_told_at_once: Passes,
                r8_after_the_pause_one_caller_tries_and_not_all: Fails,
                r8_one_tenants_refused_credential_shuts_nobody_else_out: Fails,
            }
            ending {
                a4_the_end_of_the_pool_is_said_to_every_upstream: Passes,
                a5_an_upstream_that_does_not_let_go_does_not_hold_the_end_up: Fails,
                r4_an_upstream_that_does_not_let_go_holds_no_caller_up: Fails,
                r2941_calls_that_hang_do_not_outlive_the_pool: Fails,
                r3_no_secret_is_in_figures_or_errors: Fails,
            }
        }
    };
}

macro_rules! scenarios {
    ($($part:ident { $($name:ident: $naive:ident,)* })*) => {
        /// All of them.
        pub const ALL: &[Scenario] = &[$($(Scenario {
            name: stringify!($name),
            naive: Naive::$naive,
            here: || Box::pin($part::$name::<Here>()),
            there: || Box::pin($part::$name::<There>()),
        },)*)*];
    };
}

every_scenario!(scenarios);

// === impl Scenario ===

impl Scenario {
    /// The scenario of that name.
    ///
    /// # Panics
    ///
    /// Where there is none.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let found = ALL.iter().find(|scenario| scenario.name == name);
        *found.unwrap_or_else(|| panic!("there is no scenario {name}"))
    }

    /// Plays it with the pool of `wharf-pool`.
    ///
    /// # Errors
    ///
    /// What was expected and not so.
    pub fn here(&self) -> Outcome {
        play(self.here)
    }

    /// Plays it with the naive pool.
    ///
    /// # Errors
    ///
    /// What was expected and not so.
    pub fn there(&self) -> Outcome {
        play(self.there)
    }
}
