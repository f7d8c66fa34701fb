//! What a server costs: CPU time and memory, as the kernel counts them.

use std::fs;

/// Clock ticks of `/proc/PID/stat`, a second (`getconf CLK_TCK` on every Linux).
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds of CPU that a process has used, with the children that it has waited for: `sshd` has one
/// for each connection.
pub(crate) fn cpu_s(pid: u32) -> f64 {
    try_cpu_s(pid).expect("the server is running")
}

/// `None` when the process is gone.
fn try_cpu_s(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses, which may contain anything.
    let fields = stat.rsplit_once(')').expect("a name in parentheses").1;
    // utime stime cutime cstime are fields 14 to 17.
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(4)
        .map(|ticks| ticks.parse::<u64>().expect("a number of ticks"))
        .sum();
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// The same, with all processes below it that are there still.
pub(crate) fn tree_cpu_s(pid: u32) -> f64 {
    tree(pid).into_iter().filter_map(try_cpu_s).sum()
}

/// A process and all below it.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let below = children(pid).into_iter().flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

/// Memory of a process and all below it, in MiB; what several share is divided among them.
pub(crate) fn memory_mib(pid: u32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own_kib: f64 = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let below: f64 = children(pid).into_iter().map(memory_mib).sum();
    own_kib / 1024.0 + below
}

fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}
