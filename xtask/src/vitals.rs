//! What the kernel says of a process, read from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// How a process fares.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Vitals {
    /// Time on a core so far, in user space and in the kernel.
    pub(crate) cpu: Duration,
    /// Resident memory now, in bytes.
    pub(crate) resident: u64,
    /// The most that was ever resident, in bytes.
    pub(crate) peak: u64,
    /// Threads.
    pub(crate) threads: u64,
    /// Open sockets, listening ones included.
    pub(crate) sockets: u64,
}

/// The kernel counts a process's time in hundredths of a second for every architecture's user space.
const TICK: Duration = Duration::from_millis(10);

// === impl Vitals ===

impl Vitals {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// Where there is no such process, or no `/proc`.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let status = read("status")?;
        let sockets = fs::read_dir(format!("/proc/{pid}/fd"))
            .with_context(|| format!("cannot list the files of process {pid}"))?
            .filter_map(Result::ok)
            .filter(|file| fs::read_link(file.path()).is_ok_and(|to| is_socket(&to)))
            .count();
        Ok(Self {
            cpu: cpu(&read("stat")?).context("/proc/PID/stat is not as expected")?,
            resident: kibibytes(&status, "VmRSS:"),
            peak: kibibytes(&status, "VmHWM:"),
            threads: field(&status, "Threads:"),
            sockets: sockets as u64,
        })
    }

    /// Time on a core alone, which is cheap to read.
    ///
    /// # Errors
    ///
    /// As [`Vitals::of`].
    pub(crate) fn cpu_of(pid: u32) -> Result<Duration> {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        cpu(&stat).context("/proc/PID/stat is not as expected")
    }
}

/// What sockets of all processes take in the kernel, in bytes.
pub(crate) fn kernel_socket_memory() -> u64 {
    let Ok(all) = fs::read_to_string("/proc/net/sockstat") else { return 0 };
    let tcp = all.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let mut words = tcp.split_whitespace();
    words.find(|word| *word == "mem");
    const PAGE: u64 = 4096;
    words.next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * PAGE
}

fn is_socket(to: &std::path::Path) -> bool {
    to.to_string_lossy().starts_with("socket:")
}

/// Fields 14 and 15; the name, field 2, may hold anything up to its last bracket.
fn cpu(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let kernel: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (user + kernel))
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let value = line.and_then(|line| line.split_whitespace().next());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn kibibytes(status: &str, name: &str) -> u64 {
    field(status, name) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_on_a_core_is_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 4 0 100";
        assert_eq!(cpu(stat), Some(Duration::from_millis(1750)));
        assert_eq!(cpu("7 no brackets"), None);
    }

    #[test]
    fn a_field_of_the_status_is_read_by_its_name() {
        let status = "Name:\txtask\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(kibibytes(status, "VmHWM:"), 2 * 1024 * 1024);
        assert_eq!(field(status, "Threads:"), 3);
        assert_eq!(field(status, "VmSwap:"), 0);
    }

    #[test]
    fn this_process_has_memory_and_threads() {
        let vitals = Vitals::of(std::process::id()).unwrap();
        assert!(vitals.resident > 0 && vitals.threads > 0 && vitals.peak >= vitals.resident / 2);
    }
}
