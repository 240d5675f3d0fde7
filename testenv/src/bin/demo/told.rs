//! How the story is printed: headings, commands, and what came of them.

use std::time::Duration;

/// Begins a step.
pub fn step(number: usize, title: &str) {
    println!("\n{number}. {title}");
}

/// A command as it can be typed, before its output.
pub fn command(line: &str) {
    println!("   $ {line}");
}

/// One or more lines of something read from the cluster or a log.
pub fn lines(text: &str) {
    for line in text.trim_end().lines() {
        println!("     {line}");
    }
}

/// Something measured or read, told in a line.
pub fn fact(text: &str) {
    println!("   > {text}");
}

/// A duration in milliseconds.
pub fn milliseconds(duration: Duration) -> String {
    format!("{:.0} ms", duration.as_secs_f64() * 1000.0)
}
