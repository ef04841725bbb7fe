//! When a breaker opens and closes, and how many are remembered.

use tokio::time::advance;

use super::*;

fn breaker(failures: u32) -> Arc<Breaker> {
    Arc::new(Breaker::new(BreakerLimits { failures, ..BreakerLimits::default() }))
}

fn fail(breaker: &Arc<Breaker>) {
    let attempt = breaker.attempt().expect("it lets attempts through");
    attempt.failed(&OpenError::OwnerGone);
}

#[tokio::test(start_paused = true)]
async fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
    let breaker = breaker(3);
    fail(&breaker);
    fail(&breaker);
    breaker.attempt().expect("it is closed").succeeded();
    fail(&breaker);
    fail(&breaker);
    assert_eq!(breaker.state(), BreakerState::Closed);
    fail(&breaker);
    assert_eq!(breaker.state(), BreakerState::Open);
    let tripped = breaker.attempt().expect_err("it is open");
    assert!(tripped.retry_after <= Duration::from_millis(500));
    assert!(matches!(tripped.cause, OpenError::OwnerGone));
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_one_try_and_its_success_closes_it() {
    let breaker = breaker(1);
    fail(&breaker);
    advance(Duration::from_millis(500)).await;
    let trial = breaker.attempt().expect("one may try");
    assert!(breaker.attempt().is_err(), "and only one");
    trial.succeeded();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_fails_after_another_attempt_has_closed_it_is_one_failure() {
    let breaker = breaker(2);
    let late = breaker.attempt().expect("it is closed");
    fail(&breaker);
    fail(&breaker);
    advance(Duration::from_secs(1)).await;
    let trial = breaker.attempt().expect("one may try");
    late.succeeded();
    assert!(!trial.failed(&OpenError::OwnerGone));
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_old_trial_says_nothing_of_a_new_one() {
    let breaker = breaker(1);
    let late = breaker.attempt().expect("it is closed");
    fail(&breaker);
    advance(Duration::from_secs(1)).await;
    let old = breaker.attempt().expect("one may try");
    late.succeeded();
    fail(&breaker);
    advance(Duration::from_secs(1)).await;
    let _new = breaker.attempt().expect("one may try again");
    drop(old);
    breaker.attempt().expect_err("the new one is still trying");
}

#[tokio::test(start_paused = true)]
async fn a_pause_without_end_is_no_panic() {
    let pause = Duration::MAX;
    let limits = BreakerLimits { failures: 1, pause, longest_pause: pause };
    let breaker = Arc::new(Breaker::new(limits));
    fail(&breaker);
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn breakers_in_use_are_not_looked_at_for_each_that_is_new() {
    let breakers = Breakers::new(BreakerLimits::default());
    let fingerprinter = crate::Fingerprinter::default();
    let credentials = (0..MOST_UNUSED).map(|number| fingerprinter.of(number));
    let _held: Vec<_> = credentials.map(|credential| breakers.of(credential)).collect();
    let _one_more = breakers.of(fingerprinter.of("one more"));
    assert!(breakers.lock().look_at >= MOST_UNUSED + MOST_UNUSED / 2);
}

#[tokio::test(start_paused = true)]
async fn each_failed_trial_doubles_the_pause_up_to_the_longest() {
    let breaker = breaker(1);
    fail(&breaker);
    let mut longest = Duration::ZERO;
    for _ in 0..12 {
        let pause = breaker.attempt().expect_err("it is open").retry_after;
        assert!(pause <= Duration::from_secs(10));
        longest = longest.max(pause);
        advance(pause).await;
        fail(&breaker);
    }
    assert!(longest >= Duration::from_secs(5), "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_is_given_up_leaves_the_next_one_to_try() {
    let breaker = breaker(1);
    fail(&breaker);
    advance(Duration::from_millis(500)).await;
    drop(breaker.attempt().expect("one may try"));
    breaker.attempt().expect("another may try").succeeded();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn failures_of_attempts_that_were_under_way_do_not_open_it_twice() {
    let breaker = breaker(1);
    let (first, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
    assert!(first.failed(&OpenError::OwnerGone));
    let before = breaker.attempt().expect_err("it is open").retry_after;
    assert!(!late.failed(&OpenError::OwnerGone), "one trip is one trip");
    let after = breaker.attempt().expect_err("it is open").retry_after;
    assert_eq!(before, after);
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_an_earlier_attempt_up_lets_nobody_try_beside_the_trial() {
    let breaker = breaker(1);
    let (first, late) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
    assert!(first.failed(&OpenError::OwnerGone));
    advance(Duration::from_millis(500)).await;
    let trial = breaker.attempt().expect("one may try");
    drop(late);
    assert!(breaker.attempt().is_err(), "the trial is still under way");
    trial.succeeded();
}

#[tokio::test(start_paused = true)]
async fn when_the_pause_is_over_it_says_that_one_may_try() {
    let breaker = breaker(1);
    fail(&breaker);
    let pause = breaker.attempt().expect_err("it is open").retry_after;
    advance(pause - Duration::from_millis(1)).await;
    assert_eq!(breaker.state(), BreakerState::Open);
    advance(Duration::from_millis(1)).await;
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    let _trial = breaker.attempt().expect("one may try");
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn breakers_that_open_at_once_do_not_all_let_somebody_try_at_once() {
    let pauses = (0..100).map(|_| {
        let breaker = breaker(1);
        fail(&breaker);
        breaker.attempt().expect_err("it is open").retry_after
    });
    let pauses: std::collections::HashSet<_> = pauses.collect();
    // By chance some are the same.
    assert!(pauses.len() > 50, "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn when_too_many_credentials_have_failed_the_older_half_is_forgotten() {
    let breakers = Breakers::new(BreakerLimits::default());
    let fingerprinter = crate::Fingerprinter::default();
    let in_use = breakers.of(Fingerprint::NONE);
    let fail_with = async |token: usize| {
        let credential = fingerprinter.of(token);
        let breaker = breakers.of(credential);
        fail(&breaker);
        breakers.give_back(credential, &breaker);
        advance(Duration::from_millis(1)).await;
    };
    for token in 1..MOST_UNUSED {
        fail_with(token).await;
    }
    assert_eq!(breakers.lock().breakers.len(), MOST_UNUSED, "there is room for all of them");

    fail_with(MOST_UNUSED).await;
    let is_known = |token: usize| breakers.lock().breakers.contains_key(&fingerprinter.of(token));
    let half = MOST_UNUSED / 2;
    assert!((1..half).all(|token| !is_known(token)));
    assert!((half..=MOST_UNUSED).all(is_known));
    assert!(Arc::ptr_eq(&in_use, &breakers.of(Fingerprint::NONE)));
    assert_eq!(breakers.of(fingerprinter.of(half)).lock().failures, 1);
}

#[test]
fn a_pause_is_between_half_and_whole_and_never_overflows() {
    let limits = BreakerLimits::default();
    for trip in [0, 1, 5, 31, 32, u32::MAX] {
        for chance in [0, 511, 1023] {
            let pause = limits.pause(trip, chance);
            assert!(pause <= limits.longest_pause && pause >= limits.pause / 2, "{pause:?}");
        }
    }
}
