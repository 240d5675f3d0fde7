//! The command line. Every flag of `run` can also be given in the environment, as `REGCRED_` and the flag's name.

use std::{ffi::OsString, io::Write, net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::Context as _;

use jiff::SignedDuration;

use clap::{Parser, Subcommand, ValueEnum, builder::FalseyValueParser};
use secrecy::SecretString;

use crate::{
    api::names::{DEFAULT_OPERATOR_NAMESPACE, FIELD_MANAGER},
    run, telemetry,
};

/// The exit code of `check` when it found something.
const FOUND: u8 = 1;

/// The exit code of `check` when it could not read or say everything; clap's, too, for a wrong command line.
const INCOMPLETE: u8 = 2;

/// A Kubernetes operator for container registry credentials: obtained, proven, kept fresh, delivered.
#[derive(Debug, Parser)]
#[command(name = "regcred", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator: against the cluster of KUBECONFIG, or inside a Pod with the Pod's ServiceAccount.
    ///
    /// POD_NAMESPACE names the operator's own namespace (regcred-system if it is not set). RUST_LOG says which log lines
    /// are shown, as in `info,regcred=debug`. SIGTERM ends it within five seconds.
    Run(RunArguments),
    /// Print the CustomResourceDefinitions as YAML.
    Crd,
    /// Check the RegistryConnections in files before they are applied; no cluster is needed.
    ///
    /// Says what the API server would refuse, and what the operator would: the field, what is wrong, and what to do. Objects
    /// of other kinds are skipped. The exit code is 0 if nothing was found, 1 if something was, and 2 if a file could not be
    /// read or the command line is wrong.
    Check(CheckArguments),
}

/// What is checked, and how it is told.
#[derive(Debug, Clone, clap::Args)]
struct CheckArguments {
    /// YAML or JSON files, or folders, of which the .yaml, .yml and .json files right in them are read; - is the standard
    /// input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// How findings are printed.
    #[arg(short, long, value_enum, default_value_t = OutputFormat::Text)]
    output: OutputFormat,

    /// Accept registries at loopback addresses, as an operator does that runs with this flag.
    #[arg(long, env = "REGCRED_ALLOW_LOOPBACK", value_parser = FalseyValueParser::new())]
    allow_loopback: bool,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputFormat {
    /// For people: FILE:LINE, object, field, what is wrong; below it what to do.
    Text,
    /// For programs: one JSON object.
    Json,
}

/// How the operator runs.
#[derive(Debug, Clone, clap::Args)]
pub struct RunArguments {
    /// Connect to registries at loopback addresses, over plain http too. For tests and demos on one machine.
    #[arg(long, env = "REGCRED_ALLOW_LOOPBACK", value_parser = FalseyValueParser::new())]
    pub allow_loopback: bool,

    /// Trust these certificate authorities besides the system's: a file with certificates in PEM.
    #[arg(long, env = "REGCRED_CA_FILE", value_name = "PATH")]
    pub ca_file: Option<PathBuf>,

    /// Reach https addresses through this proxy: `http://[USER:PASSWORD@]HOST:PORT`, or `https://` for TLS to the proxy too.
    ///
    /// Plain http never goes through it, and HTTPS_PROXY is not read. Give a password in the environment, where no process
    /// list shows it.
    #[arg(long, env = "REGCRED_HTTPS_PROXY", value_name = "URL", hide_env_values = true)]
    pub https_proxy: Option<SecretString>,

    /// Do not use the proxy for these, separated by commas: names, which stand for their subdomains too, addresses, and
    /// networks such as 10.0.0.0/8, as curl reads NO_PROXY.
    #[arg(long, env = "REGCRED_NO_PROXY", value_name = "LIST")]
    pub no_proxy: Option<String>,

    /// Never connect to private networks (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, 198.18.0.0/15, fc00::/7)
    /// for the connections of a namespace.
    #[arg(long, env = "REGCRED_FORBID_PRIVATE_ADDRESSES", value_parser = FalseyValueParser::new())]
    pub forbid_private_addresses: bool,

    /// Use the Secrets of a namespace only for a host that they name: in a docker config, or in the annotation
    /// `regcred.dev/registry-host`. Those for connections of the cluster must name one anyway.
    #[arg(long, env = "REGCRED_REQUIRE_SOURCE_HOST", value_parser = FalseyValueParser::new())]
    pub require_source_host: bool,

    /// How long a credential that a provider issued works on once no Secret holds it any more, as in 10m or 1h30m. Then it is
    /// revoked.
    #[arg(long, env = "REGCRED_REVOCATION_GRACE", value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    pub revocation_grace: SignedDuration,

    /// Write at most so many Secrets in a second. Absent means as many as the API server takes, 32 at the same time: for
    /// clusters in which others watch all Secrets and cannot keep up.
    #[arg(long, env = "REGCRED_MAX_WRITES_PER_SECOND", value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_writes_per_second: Option<u32>,

    /// Where to serve /livez, /readyz and /metrics. Port 0 takes a free one; the log names it.
    #[arg(long, env = "REGCRED_METRICS_ADDR", default_value = "0.0.0.0:8080", value_parser = parse_address)]
    pub metrics_addr: SocketAddr,

    /// How log lines look.
    #[arg(long, env = "REGCRED_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What all replicas of this installation are called. Of two installations in one cluster only the older one works, also if
    /// they are in one namespace.
    #[arg(long, env = "REGCRED_INSTALLATION", value_name = "NAME", default_value = FIELD_MANAGER)]
    pub installation: String,

    /// The operator's own namespace, from POD_NAMESPACE. Its events name it, and objects of its own go there.
    #[arg(skip = operator_namespace())]
    pub namespace: String,
}

fn operator_namespace() -> String {
    std::env::var("POD_NAMESPACE").ok().filter(|name| !name.is_empty()).unwrap_or(DEFAULT_OPERATOR_NAMESPACE.to_owned())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For log collectors: one JSON object a line.
    Json,
}

/// An address; `:8080` means that port on every interface.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| format!("{text:?} is not an address; expected HOST:PORT or :PORT with a numeric host"))
}

/// A time of at least nothing and at most a week.
fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let most = SignedDuration::from_hours(7 * 24);
    let duration: Option<SignedDuration> = text.trim().parse().ok();
    duration
        .filter(|duration| !duration.is_negative() && *duration <= most)
        .ok_or_else(|| format!("{text:?} is not a time of at most a week, such as 10m"))
}

/// Writes to the standard output. Whoever has read enough of it and hung up wants no more.
fn say(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to the standard output"),
    }
}

/// Does what the command line says. The exit code is a failure if `check` found something.
///
/// # Errors
/// What made the command fail; wrong arguments end the process with clap's own message.
pub async fn main(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    match Cli::parse_from(arguments).command {
        Command::Run(arguments) => {
            telemetry::init(arguments.log_format);
            run::from_environment(arguments).await.map(|()| ExitCode::SUCCESS)
        }
        Command::Crd => {
            say(&crate::api::crd::crds_yaml()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Check(arguments) => Ok(check(&arguments)),
    }
}

/// An error here is no finding: it has an exit code of its own.
fn check(arguments: &CheckArguments) -> ExitCode {
    let (report, mut errors) = crate::check::check(&arguments.files, arguments.allow_loopback);
    let text = match arguments.output {
        OutputFormat::Text => Ok(report.to_text()),
        OutputFormat::Json => serde_json::to_string_pretty(&report).map(|json| json + "\n"),
    };
    let printed = text.map_err(anyhow::Error::from).and_then(|text| say(&text));
    errors.extend(printed.err());
    for error in &errors {
        eprintln!("regcred: {error:#}");
    }
    match (errors.as_slice(), report.findings.as_slice()) {
        ([], []) => ExitCode::SUCCESS,
        ([], _) => FOUND.into(),
        (_, _) => INCOMPLETE.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses_with_and_without_a_host() {
        assert_eq!(parse_address(":0"), Ok("0.0.0.0:0".parse().unwrap()));
        assert_eq!(parse_address("127.0.0.1:9"), Ok("127.0.0.1:9".parse().unwrap()));
        assert_eq!(parse_address("[::]:9"), Ok("[::]:9".parse().unwrap()));
        assert!(parse_address("localhost").is_err());
    }

    #[test]
    fn a_proxy_with_a_password_is_shown_nowhere() {
        for url in ["http://user:s3ntinel@proxy.example:3128", "s3ntinel", "::s3ntinel"] {
            let cli = Cli::try_parse_from(["regcred", "run", "--https-proxy", url]).unwrap();
            assert!(!format!("{cli:?}").contains("s3ntinel"), "{cli:?}");
            let wrong = Cli::try_parse_from(["regcred", "run", "--https-proxy", url, "--log-format", "loud"]);
            assert!(!wrong.unwrap_err().to_string().contains("s3ntinel"));
        }
    }

    #[test]
    fn the_command_line_makes_sense() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
