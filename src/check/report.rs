//! What was found in all files, and how it is told. Pure.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;
use serde::Serialize;

use super::{
    document::{self, Unreadable},
    object::{self, Class},
    shape::Fault,
    together::Together,
    tree::Node,
};
use crate::{api::Reason, domain::reference::Kind, problem::shortened};

/// The longest name or field that is shown, in bytes.
const MAX_SHOWN: usize = 300;

/// Everything that `regcred check` has to say; with `-o json` in exactly this form.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// What is wrong, in the order of the files.
    pub findings: Vec<Finding>,
    /// How many RegistryConnections were looked at.
    pub checked: usize,
    /// How many objects of other kinds were not.
    pub skipped: usize,
    /// The files in which there was no RegistryConnection.
    pub files_without_connections: Vec<String>,
}

/// Something that would keep a connection from working.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The file, as it was named; `-` for the standard input.
    pub file: String,
    /// Which document of the file, counted from 1.
    pub document: usize,
    /// The line of the file, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The object's kind. Absent, like the next two, where the file does not say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The object's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The object's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The field to change. Absent if it is about the whole document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The reason, as the connection would say it.
    pub reason: Reason,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Report {
    /// Looks at the text of one more file, with the schemas of both kinds and those that it is applied together with.
    pub fn add(
        &mut self,
        file: &str,
        text: &str,
        [namespaced, cluster]: &[JSONSchemaProps; 2],
        allow_loopback: bool,
        together: &mut Together,
    ) {
        let (found_before, checked_before) = (self.findings.len(), self.checked);
        for (index, document) in document::documents(text).enumerate() {
            let mut findings = vec![];
            match document {
                Err(Unreadable { line, message, remedy }) => {
                    let fault = Fault { path: String::new(), line, message, remedy };
                    findings.push(finding(file, index, None, fault));
                }
                Ok(document) => self.visit(&document, &mut |object, kind| {
                    let schema = match kind {
                        Kind::Namespaced => namespaced,
                        Kind::Cluster => cluster,
                    };
                    let mut faults = object::faults(object, kind, schema, allow_loopback);
                    faults.extend(together.fault(file, kind, object));
                    findings.extend(faults.into_iter().map(|fault| finding(file, index, Some((object, kind)), fault)));
                }),
            }
            self.findings.append(&mut findings);
        }
        if self.checked == checked_before && self.findings.len() == found_before {
            self.files_without_connections.push(file.to_owned());
        }
    }

    fn visit(&mut self, object: &Node, look: &mut impl FnMut(&Node, Kind)) {
        match object::class(object) {
            Class::Connection(kind) => {
                self.checked += 1;
                look(object, kind);
            }
            Class::List(items) => items.iter().for_each(|item| self.visit(item, look)),
            Class::Other => self.skipped += 1,
        }
    }

    /// The report for people: two lines for each finding, of which the first can be searched for, and what was looked at.
    pub fn to_text(&self) -> String {
        let mut text: String = self.findings.iter().map(Finding::to_text).collect();
        for file in &self.files_without_connections {
            text.push_str(&format!("{}: there is no RegistryConnection in it\n", one_line(file)));
        }
        let count = |count: usize, one: &str, many: &str| match count {
            0 => format!("no {many}"),
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        text.push_str(&format!(
            "{} checked, {} found",
            count(self.checked, "RegistryConnection", "RegistryConnections"),
            count(self.findings.len(), "fault", "faults")
        ));
        if self.skipped > 0 {
            text.push_str(&format!("; {} skipped", count(self.skipped, "other object", "other objects")));
        }
        text.push('\n');
        text
    }
}

impl Finding {
    fn to_text(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let name = match (&self.namespace, &self.name) {
            (Some(namespace), Some(name)) => format!(" {namespace}/{name}"),
            (None, Some(name)) => format!(" {name}"),
            (_, None) => String::new(),
        };
        let object = self.kind.as_ref().map(|kind| format!(" {kind}{name}:")).unwrap_or_default();
        let field = self.field.as_ref().map(|field| format!(" {field}:")).unwrap_or_default();
        let finding = format!("{}{line}:{object}{field} {} ({})", self.file, self.message, self.reason);
        format!("{}\n    {}\n", one_line(&finding), one_line(&self.remedy))
    }
}

fn finding(file: &str, index: usize, object: Option<(&Node, Kind)>, fault: Fault) -> Finding {
    let metadata = |key: &str| object.and_then(|(object, _)| object.get("metadata")?.text(key));
    let shown = |text: &str| shortened(text.to_owned(), MAX_SHOWN);
    let Fault { path, line, message, remedy } = fault;
    Finding {
        file: file.to_owned(),
        document: index + 1,
        line: (line > 0).then_some(line),
        kind: object.map(|(_, kind)| kind.to_string()),
        namespace: metadata("namespace").map(shown),
        name: metadata("name").or_else(|| metadata("generateName")).map(shown),
        field: (!path.is_empty()).then(|| shown(&path)),
        reason: Reason::InvalidSpec,
        message,
        remedy,
    }
}

/// Names in a file may hold line ends, and what moves the cursor of a terminal.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { line.extend(character.escape_default()) } else { line.push(character) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::schema;

    fn report(text: &str) -> Report {
        let mut report = Report::default();
        report.add("a.yaml", text, &Kind::ALL.map(schema::of), false, &mut Together::default());
        report
    }

    const BAD: &str = "apiVersion: regcred.dev/v1alpha1\nkind: RegistryConnection\nmetadata:\n  name: x\n  namespace: shop\n\
                       spec:\n  suspend: 1\n  provider:\n    dockerhub:\n      secretRef:\n        name: login\n";

    #[test]
    fn a_finding_is_one_line_and_its_remedy() {
        let text = report(BAD).to_text();
        let mut lines = text.lines();
        let first = lines.next().unwrap();
        assert!(first.starts_with("a.yaml:7: RegistryConnection shop/x: spec.suspend: "), "{first}");
        assert!(first.ends_with(" (InvalidSpec)"), "{first}");
        assert_eq!(lines.next(), Some("    write true or false without quotes"));
        assert_eq!(lines.next(), Some("1 RegistryConnection checked, 1 fault found"));
    }

    #[test]
    fn looks_into_lists_and_counts_what_it_skips() {
        let items = BAD.lines().map(|line| format!("  {line}\n")).collect::<String>().replacen("  ", "- ", 1);
        let list = format!("kind: List\napiVersion: v1\nitems:\n{items}- kind: Secret\n  apiVersion: v1\n");
        let report =
            report(&format!("# nothing\n---\n{list}---\nkind: ConfigMap\n--- \n{}", BAD.replace("name: x", "name: z")));
        assert_eq!((report.checked, report.skipped, report.findings.len()), (2, 2, 2));
        let lines: Vec<_> = report.findings.iter().map(|finding| (finding.document, finding.line)).collect();
        assert_eq!(lines, [(1, Some(12)), (3, Some(28))]);
    }

    #[test]
    fn says_when_there_was_nothing_to_check() {
        let report = report("kind: Secret\nstringData: {password: canary}\n");
        assert_eq!(report.files_without_connections, ["a.yaml"]);
        let text = report.to_text();
        assert!(text.contains("no RegistryConnection in it") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn what_stands_behind_a_document_that_cannot_be_read_is_looked_at_too() {
        let report = report(&format!("a: [\n---\n{BAD}"));
        let lines: Vec<_> = report.findings.iter().map(|finding| (finding.document, finding.line)).collect();
        assert_eq!(lines, [(1, Some(1)), (2, Some(9))]);
    }

    #[test]
    fn no_value_and_no_control_character_of_a_file_gets_out() {
        for change in [
            "registryUrl: https://user:canary@r.example",
            "registryUrl: [canary]",
            "registryUrl: r.example\n      insecure: canary",
            "registryUrl: r.example\n      imageHost: canary/x",
            "registryUrl: r.example\n      trustedTokenHosts: [canary@x]",
            "registryUrl: r.example\n      caRef: {kind: canary, name: x}",
            "registryUrl: \"canary",
            "registryUrl: *canary",
            "registryUrl: !!binary canary!",
        ] {
            let text = BAD
                .replace("    dockerhub:", &format!("    generic:\n      {change}"))
                .replace("suspend: 1", "suspend: true");
            let report = report(&text);
            assert!(!report.findings.is_empty(), "{change}");
            assert!(!format!("{report:?}").contains("canary"), "{change}: {report:?}");
        }
        let text =
            report(&BAD.replace("  suspend: 1", "  \"a\\e[31m\\nb\": 1").replace("name: x", "name: \"x\\e[0m\""))
                .to_text();
        assert!(text.lines().count() == 5 && !text.contains('\u{1b}'), "{text:?}");
    }
}
