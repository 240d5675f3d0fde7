//! Nothing outlives the one who started it, not even after SIGKILL.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use testenv::eventually;
use testenv::process::Process;

use crate::DEADLINE;

#[derive(Deserialize)]
struct Started {
    folders: Vec<PathBuf>,
    pids: Vec<u32>,
}

/// The living members of a process group; who is dead but not yet reaped does not count.
fn members(group: u32) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats
        .filter(|stat| {
            // The name in parentheses may hold anything; state, parent and group follow it.
            let after: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().take(3).collect();
            matches!(after.as_slice(), [state, _, of] if *of == group.to_string() && !matches!(*state, "Z" | "X"))
        })
        .collect()
}

#[tokio::test]
async fn nothing_is_left_after_the_starter_is_killed() {
    let mut starter = Command::new(env!("CARGO_BIN_EXE_testenv-up"));
    starter.env_remove("REGCRED_KEEP").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut starter = starter.spawn().unwrap();
    let output = starter.stdout.take().unwrap();
    let reader = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map(|_| line)
    });
    let line = reader.await.unwrap().unwrap();
    let started: Started = serde_json::from_str(&line).unwrap();
    assert_eq!((started.pids.len(), started.folders.len()), (4, 2));
    for &pid in &started.pids {
        assert!(members(pid).len() >= 2, "the program and its watcher are alive");
    }
    assert!(started.folders.iter().all(|folder| folder.exists()));

    starter.kill().unwrap();
    starter.wait().unwrap();
    let gone = eventually("the end of everything", DEADLINE, async || {
        let alive: Vec<String> = started.pids.iter().flat_map(|&pid| members(pid)).collect();
        let folders: Vec<_> = started.folders.iter().filter(|folder| folder.exists()).collect();
        anyhow::ensure!(alive.is_empty() && folders.is_empty(), "left: {alive:?} {folders:?}");
        Ok(Some(()))
    });
    gone.await.unwrap();
}

#[tokio::test]
async fn a_process_keeps_its_exit_status_and_takes_its_children_along() {
    let folder = tempfile::tempdir().unwrap();
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("script", &command, &folder.path().join("log")).unwrap()
    };
    let ending = shell("echo said; exit 7");
    assert_eq!(ending.wait(DEADLINE).unwrap().unwrap().code(), Some(7));
    assert_eq!(ending.tail(1), "said");

    let asked = shell("trap 'exit 3' TERM; echo ready; while :; do sleep 0.01; done");
    while !asked.tail(1).contains("ready") {
        assert!(asked.wait(Duration::from_millis(10)).unwrap().is_none());
    }
    asked.signal_term().unwrap();
    assert_eq!(asked.wait(DEADLINE).unwrap().unwrap().code(), Some(3));

    let parent = shell("sleep 1000 & wait");
    let group = parent.pid();
    assert!(!members(group).is_empty());
    drop(parent);
    // Whoever is killed needs a moment to die.
    let gone = eventually("the child to go", DEADLINE, async || {
        let alive = members(group);
        anyhow::ensure!(alive.is_empty(), "left: {alive:?}");
        Ok(Some(()))
    });
    gone.await.unwrap();
}
