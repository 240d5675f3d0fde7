//! The figures beside what they are wanted to be. Times are told, never asserted: machines differ.

use crate::figures::{Bar, Figures, Report, count};

/// The most targets that the bar for resident memory, and that for the peak, are about.
const RESIDENT_AT: usize = 1_000;
const PEAK_AT: usize = 10_000;

/// Fills in the bars that what was measured has something to say about.
pub fn fill(report: &mut Report) {
    let mut bars = vec![bar("size of the binary", "MB", 15.0, report.binary_mb)];
    bars.extend(report.empty.map(|empty| bar("resident memory without connections", "MB", 15.0, empty.resident_mb)));
    for figures in &report.scenarios {
        bars.extend(of(figures, report.targets));
    }
    report.bars = bars;
}

fn of(figures: &Figures, targets: usize) -> Vec<Bar> {
    let id = figures.id.as_str();
    let mut bars = Vec::new();
    // A connection of a namespace has a status to write, too, which the bare loop has not.
    if let ("S2" | "S4", Some(ratio)) = (id, figures.ratio) {
        bars.push(bar(&format!("{id}: wall time over the bare loop"), "x", 1.25, ratio));
    }
    if let ("S1", Some(first)) = (id, figures.more.get("ms from start to the first write")) {
        bars.push(bar("S1: from the start of the process to the first write", "ms", 200.0, *first));
    }
    if let ("S1" | "S2" | "S7", Some(memory)) = (id, figures.memory) {
        let what = |which: &str| format!("{id}: {}; {which} memory", figures.title);
        if targets <= RESIDENT_AT {
            bars.push(bar(&what("resident"), "MB", 25.0, memory.resident_mb));
        }
        if targets <= PEAK_AT {
            bars.push(bar(&what("peak"), "MB", 60.0, memory.peak_mb));
        }
    }
    if let "S5" | "S7" = id {
        bars.push(bar(
            &format!("{id}: {}; requests besides watches", figures.title),
            "",
            0.0,
            count(figures.requests.total),
        ));
    }
    if let ("S6", Some(latency)) = (id, figures.latencies.first().filter(|latency| latency.count > 0)) {
        let limits = match (figures.wall_seconds, figures.title.contains("during")) {
            // Those that come all at once wait for each other.
            (Some(_), _) => None,
            (None, true) => Some((None, 500.0)),
            (None, false) => Some((Some(25.0), 100.0)),
        };
        for (which, most, measured) in
            limits.into_iter().flat_map(|(p50, p99)| [("p50", p50, latency.p50), ("p99", Some(p99), latency.p99)])
        {
            bars.extend(most.map(|most| bar(&format!("S6: {}; {which}", figures.title), "ms", most, measured)));
        }
    }
    if let ("S8", Some(more)) = (id, figures.more.get("MB more resident memory")) {
        bars.push(bar(&format!("S8: {}, more resident memory", figures.title), "MB", 2.0, *more));
    }
    bars
}

fn bar(what: &str, unit: &str, most: f64, measured: f64) -> Bar {
    Bar {
        what: what.to_owned(),
        bar: format!("{most} {unit}").trim_end().to_owned(),
        measured,
        is_met: measured <= most,
    }
}
