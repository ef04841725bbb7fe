//! What share of its throughput each way keeps when many call instead of few.
//!
//! A machine that others use as well is faster in one minute than in the next by more than the ways differ. So both
//! crowds have their turns one right after the other, on the same processes, and a way is compared with the bare proxy
//! by round: what is said is the median of the rounds, and where that lies with 95 % confidence.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::{
    case::{Case, Wire},
    chart,
    lane::Lane,
    result::write,
    round::{Track, Turns, pave},
};
use crate::stage::Stage;

/// What is compared, and how.
#[derive(Debug)]
pub(super) struct Comparison<'a> {
    growth: Growth,
    lanes: &'a [Lane],
    turns: Turns,
}

/// From how few users to how many.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Growth {
    wire: Wire,
    bytes: usize,
    few: usize,
    many: usize,
}

/// Who calls.
#[derive(Debug, Clone, Copy)]
enum Crowd {
    Few,
    Many,
}

/// What a way did, round by round: calls a second.
#[derive(Debug, Clone, Serialize)]
struct Kept {
    lane: Lane,
    few: Vec<f64>,
    many: Vec<f64>,
}

/// The JSON file.
#[derive(Debug, Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    growth: Growth,
    /// In seconds.
    turn: f64,
    lanes: Vec<Row<'a>>,
}

/// A way in it. Shares are parts of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(flatten)]
    kept: &'a Kept,
    share: Spread,
    /// This way's share, by that of the bare proxy in the same round.
    against_proxy: Spread,
}

/// Where the middle of some values is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Spread {
    median: f64,
    /// The median of all rounds that could be had of these processes lies between these, with 95 % confidence.
    low: f64,
    high: f64,
}

/// Of fewer values none bounds the median with 95 % confidence: all of five are above it in one of 32 cases.
const ROUNDS_AT_LEAST: u32 = 6;

async fn speed(track: &Track, case: Case, turns: Turns) -> Result<f64> {
    let turn = track.turn_alone(case, turns.length).await?;
    let speed = turn.settled_throughput();
    ensure!(
        speed > 0.0,
        "{case}, {}: nothing was answered in the last three quarters of a turn of {:?}: give a longer `--turn`",
        turn.lane.label(),
        turns.length
    );
    Ok(speed)
}

fn show(row: &Row<'_>) {
    let percent = |part: f64| part * 100.0;
    println!(
        "  {:<28} {:>7.0} and {:>7.0} calls/s, keeps {:.1} % ({:.1} to {:.1}), {:.3} of the bare proxy's share ({:.3} to {:.3})",
        row.kept.lane.label(),
        Spread::of(row.kept.few.clone()).median,
        Spread::of(row.kept.many.clone()).median,
        percent(row.share.median),
        percent(row.share.low),
        percent(row.share.high),
        row.against_proxy.median,
        row.against_proxy.low,
        row.against_proxy.high,
    );
}

// === impl Comparison ===

impl<'a> Comparison<'a> {
    /// # Errors
    ///
    /// Where nothing can be told from it.
    pub(super) fn new(growth: Growth, lanes: &'a [Lane], turns: Turns) -> Result<Self> {
        ensure!(
            lanes.contains(&Lane::BareProxy),
            "shares are compared with the bare proxy's: add `bare-proxy` to `--lanes`"
        );
        ensure!(
            turns.rounds >= ROUNDS_AT_LEAST,
            "{} rounds bound no median with 95 % confidence: give `--rounds {ROUNDS_AT_LEAST}` or more",
            turns.rounds
        );
        ensure!(
            !turns.are_at_once,
            "turns that follow one another are compared: leave `--at-once` out"
        );
        ensure!(!turns.length.is_zero(), "nothing is answered in no time: give a longer `--turn`");
        Ok(Self { growth, lanes, turns })
    }

    /// Measures both crowds on every way.
    ///
    /// # Errors
    ///
    /// Where something does not come up, a call is not answered as it should be, or none is in a whole turn.
    pub(super) async fn measure(&self, stage: &Stage, out: &Path) -> Result<()> {
        let growth = self.growth;
        println!("{growth}");
        let kept = self.ride(stage).await?;
        let proxy = kept.iter().find(|kept| kept.lane == Lane::BareProxy);
        let proxy = proxy.context("the bare proxy has been measured")?.shares();
        let rows: Vec<_> = kept.iter().map(|kept| Row::new(kept, &proxy)).collect();
        rows.iter().for_each(show);
        let bars: Vec<_> = rows.iter().map(Row::bar).collect();
        let title = format!("Throughput kept, percent: {growth}");
        write(&out.join("share.svg"), &chart::bars(&title, &bars))?;
        let report = Report { growth, turn: self.turns.length.as_secs_f64(), lanes: rows };
        write(&out.join("share.json"), &serde_json::to_string_pretty(&report)?)
    }

    async fn ride(&self, stage: &Stage) -> Result<Vec<Kept>> {
        let Self { growth, lanes, turns } = *self;
        let (_upstream, tracks) = pave(stage, growth.case(Crowd::Many), lanes, turns).await?;
        let nothing = |&lane| Kept { lane, few: Vec::new(), many: Vec::new() };
        let mut ways: Vec<_> = tracks.into_iter().zip(lanes.iter().map(nothing)).collect();
        for round in 0..turns.rounds as usize {
            // What drifts, or is left behind, does not always tell against the same: each way is in each place with
            // either crowd first.
            let crowds = match (round / lanes.len()).is_multiple_of(2) {
                true => [Crowd::Few, Crowd::Many],
                false => [Crowd::Many, Crowd::Few],
            };
            for (track, kept) in &mut ways {
                for crowd in crowds {
                    kept.of(crowd).push(speed(track, growth.case(crowd), turns).await?);
                }
            }
            ways.rotate_left(1);
            println!("  round {} of {}", round + 1, turns.rounds);
        }
        let mut kept: Vec<_> = ways.into_iter().map(|(_, kept)| kept).collect();
        kept.sort_by_key(|kept| lanes.iter().position(|&lane| lane == kept.lane));
        Ok(kept)
    }
}

// === impl Growth ===

impl Growth {
    /// From the fewest of `users` to the most.
    ///
    /// # Errors
    ///
    /// Where they are one.
    pub(super) fn new(wire: Wire, bytes: usize, users: &[usize]) -> Result<Self> {
        let few = users.iter().min().copied().unwrap_or_default();
        let many = users.iter().max().copied().unwrap_or_default();
        ensure!(
            few < many && few > 0,
            "two crowds are compared, and not {users:?}: give `--users 50 --users 1000`, or others"
        );
        Ok(Self { wire, bytes, few, many })
    }

    const fn case(self, crowd: Crowd) -> Case {
        let users = match crowd {
            Crowd::Few => self.few,
            Crowd::Many => self.many,
        };
        Case { wire: self.wire, bytes: self.bytes, users }
    }
}

impl std::fmt::Display for Growth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { wire, bytes, few, many } = self;
        write!(f, "{wire}, {bytes} B, from {few} to {many} users")
    }
}

// === impl Kept ===

impl Kept {
    const fn of(&mut self, crowd: Crowd) -> &mut Vec<f64> {
        match crowd {
            Crowd::Few => &mut self.few,
            Crowd::Many => &mut self.many,
        }
    }

    /// By round.
    fn shares(&self) -> Vec<f64> {
        self.few.iter().zip(&self.many).map(|(few, many)| many / few).collect()
    }
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(kept: &'a Kept, proxy: &[f64]) -> Self {
        let shares = kept.shares();
        let against = shares.iter().zip(proxy).map(|(share, proxy)| share / proxy).collect();
        Self { kept, share: Spread::of(shares), against_proxy: Spread::of(against) }
    }

    fn bar(&self) -> chart::Bar {
        let label = self.kept.lane.label().into();
        chart::Bar { label, value: self.share.median * 100.0 }
    }
}

// === impl Spread ===

impl Spread {
    /// The values need not be of any distribution: what bounds the median are values by their rank.
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let count = values.len();
        let below = improbable(count);
        let median = f64::midpoint(values[(count - 1) / 2], values[count / 2]);
        Self { median, low: values[below], high: values[count - 1 - below] }
    }
}

/// The most heads that so many throws of a coin show, or fewer, in 2.5 of 100 cases at most; zero, too, where there is
/// no such number, which is so below [`ROUNDS_AT_LEAST`].
fn improbable(throws: usize) -> usize {
    let mut heads = 0;
    // Of the probability of just so many, which is too small for a number where there are many throws.
    let mut logarithm = -(throws as f64) * std::f64::consts::LN_2;
    let mut so_many_or_fewer = logarithm.exp();
    while so_many_or_fewer <= 0.025 {
        logarithm += ((throws - heads) as f64 / (heads + 1) as f64).ln();
        so_many_or_fewer += logarithm.exp();
        heads += 1;
    }
    heads.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_share_is_compared_with_that_of_the_proxy_in_the_same_round() {
        // The machine is half as fast in every second round by when the many have their turn.
        let kept = |lane, few: f64, many: f64| Kept {
            lane,
            few: vec![few; 6],
            many: [many, many / 2.0].repeat(3),
        };
        let proxy = kept(Lane::BareProxy, 100.0, 80.0);
        let wharf = kept(Lane::WharfShared, 90.0, 54.0);
        let row = Row::new(&wharf, &proxy.shares());
        assert!((row.share.high - 0.6).abs() < 1e-9, "{row:?}");
        assert!((row.share.low - 0.3).abs() < 1e-9, "{row:?}");
        assert!((row.against_proxy.low - 0.75).abs() < 1e-9, "{row:?}");
        assert!((row.against_proxy.high - 0.75).abs() < 1e-9, "{row:?}");
    }

    #[test]
    fn the_median_is_the_middle_and_lies_between_values_of_known_ranks() {
        let values: Vec<_> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(Spread::of(values), Spread { median: 50.5, low: 40.0, high: 61.0 });
        let six = Spread::of(vec![3.0, 1.0, 2.0, 6.0, 5.0, 4.0]);
        assert_eq!(six, Spread { median: 3.5, low: 1.0, high: 6.0 });
    }

    #[test]
    fn ranks_are_those_of_tables_of_the_sign_test() {
        let ranks = [6, 8, 9, 11, 12, 17, 20, 25, 100, 2000].map(improbable);
        assert_eq!(ranks, [0, 0, 1, 1, 2, 4, 5, 7, 39, 955]);
    }

    #[test]
    fn two_crowds_are_compared_and_not_one() {
        let growth = |users: &[usize]| Growth::new(Wire::Json, 16, users);
        let some = growth(&[1000, 1, 50]).expect("three crowds");
        assert_eq!((some.case(Crowd::Few).users, some.case(Crowd::Many).users), (1, 1000));
        assert!(growth(&[50]).is_err() && growth(&[50, 50]).is_err() && growth(&[]).is_err());
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_what_to_do() {
        let growth = Growth::new(Wire::Json, 16, &[1, 2]).expect("two crowds");
        let turns = |rounds, millis, are_at_once| Turns {
            rounds,
            length: Duration::from_millis(millis),
            are_at_once,
        };
        let refused = |lanes: &[Lane], turns| {
            Comparison::new(growth, lanes, turns).expect_err("is refused").to_string()
        };
        assert!(refused(&[Lane::WharfShared], turns(6, 1, false)).contains("add `bare-proxy`"));
        assert!(refused(&Lane::ALL, turns(5, 1, false)).contains("`--rounds 6`"));
        assert!(refused(&Lane::ALL, turns(6, 1, true)).contains("`--at-once`"));
        assert!(refused(&Lane::ALL, turns(6, 0, false)).contains("`--turn`"));
        assert!(Comparison::new(growth, &Lane::ALL, turns(6, 1, false)).is_ok());
    }
}
