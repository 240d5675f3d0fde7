//! The report for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::figures::{Figures, Report};
use crate::machine::Cpu;

/// The whole report.
pub fn report(report: &Report) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let machine = &report.machine;
    writeln!(text, "# regcred: {} targets\n", report.targets)?;
    writeln!(
        text,
        "{}; {} cores ({}), {:.0} MB memory, load {} at the start; Kubernetes {}; `regcred {}`\n",
        machine.date,
        machine.cores,
        machine.cpu,
        machine.memory_mb,
        machine.load,
        report.kubernetes,
        report.arguments.join(" ")
    )?;
    write!(text, "Binary: {:.2} MB.", report.binary_mb)?;
    if let Some(empty) = report.empty {
        write!(text, " Without connections: {:.1} MB resident, {:.1} MB at most.", empty.resident_mb, empty.peak_mb)?;
    }
    writeln!(text, "\n\n## Against the bars\n\n| What | Bar | Measured | Met |\n|---|---|---|---|")?;
    for bar in &report.bars {
        writeln!(text, "| {} | {} | {:.2} | {} |", bar.what, bar.bar, bar.measured, yes(bar.is_met))?;
    }
    writeln!(text, "\n## Exact counts\n\n| What | Expected | Found | Met |\n|---|---|---|---|")?;
    for check in &report.checks {
        writeln!(text, "| {} | {} | {} | {} |", check.what, check.expected, check.found, yes(check.is_met))?;
    }
    overview(&mut text, &report.scenarios)?;
    writeln!(text, "\n## Single scenarios")?;
    report.scenarios.iter().try_for_each(|figures| scenario(&mut text, figures))?;
    Ok(text)
}

fn yes(is_met: bool) -> &'static str {
    if is_met { "yes" } else { "**no**" }
}

fn overview(text: &mut String, scenarios: &[Figures]) -> std::fmt::Result {
    writeln!(
        text,
        "\n## All scenarios\n\nWall times are those of the audit log: from the moment when the request of the cause had come to the answer to the last \
         write of a Secret. The floor is a bare loop with the same client that writes the same bytes, before the scenario and \
         after it, while no operator runs.\n\n\
         | Scenario | Wall, s | x floor | Requests | Each | Writes | Mints | CPU operator, s | API server, s | etcd, s | harness, s | Resident, MB | Peak, MB |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    for figures in scenarios {
        let maybe =
            |value: Option<f64>, digits: usize| value.map_or("".to_owned(), |value| format!("{value:.digits$}"));
        writeln!(
            text,
            "| {} {} | {} | {} | {} | {:.2} | {} | {} | {:.2} | {:.2} | {:.2} | {:.2} | {} | {} |",
            figures.id,
            figures.title,
            maybe(figures.wall_seconds, 3),
            maybe(figures.ratio, 2),
            figures.requests.total,
            figures.requests_per_target(),
            figures.requests.writes,
            figures.calls.mints,
            figures.cpu.writer,
            figures.cpu.apiserver,
            figures.cpu.etcd,
            figures.cpu.harness,
            maybe(figures.memory.map(|memory| memory.resident_mb), 1),
            maybe(figures.memory.map(|memory| memory.peak_mb), 1),
        )?;
    }
    Ok(())
}

fn scenario(text: &mut String, figures: &Figures) -> std::fmt::Result {
    writeln!(text, "\n### {}: {}\n", figures.id, figures.title)?;
    if let Some(floor) = &figures.floor {
        let each = floor.wall_seconds.iter().zip(&floor.writes_per_second).zip(&floor.cpu);
        for (((wall, rate), cpu), when) in each.zip(["before", "after"]) {
            writeln!(text, "- floor {when}: {wall:.3} s, {rate:.0} writes/s; CPU {}", split(cpu))?;
        }
    }
    if let Some(wall) = figures.wall_seconds {
        let rate = crate::figures::count(figures.targets) / wall;
        writeln!(text, "- wall: {wall:.3} s, {rate:.0} targets/s; CPU {}", split(&figures.cpu))?;
    }
    for latency in &figures.latencies {
        let (p50, p99, max) = (latency.p50, latency.p99, latency.max);
        writeln!(text, "- {} ({}): p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms", latency.what, latency.count)?;
    }
    for (what, value) in &figures.more {
        writeln!(text, "- {what}: {value:.1}")?;
    }
    writeln!(text, "- requests: {}", counts(&figures.requests.by_kind))?;
    writeln!(text, "- apart: {}", counts(&figures.requests.apart))?;
    let calls = figures.calls;
    writeln!(
        text,
        "- provider: {} requests, {} of them mints; token server: {} logins; registries: {} requests",
        calls.provider, calls.mints, calls.logins, calls.registry
    )
}

fn split(cpu: &Cpu) -> String {
    let Cpu { writer, apiserver, etcd, harness } = cpu;
    format!("{writer:.2} s writer, {apiserver:.2} s API server, {etcd:.2} s etcd, {harness:.2} s harness")
}

fn counts(counts: &BTreeMap<String, usize>) -> String {
    let all: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}
