//! One table of specs: which are refused and at which field, which are accepted. The API server and `regcred check` have
//! to agree on each, so that nobody learns from a status what could have been said before.

use serde_json::{Value, json};

/// What is changed in the object.
pub type Change = fn(&mut Value);

/// A spec that is refused.
pub struct Refused {
    /// What is wrong with it.
    pub name: &'static str,
    /// What makes it so.
    pub change: Change,
    /// The field that is named.
    pub field: &'static str,
    /// Who sees it.
    pub seen: Seen,
}

/// Who sees a fault.
pub enum Seen {
    /// The API server too, which says these words.
    ByBoth(&'static [&'static str]),
    /// Only the operator and `check`. The text says why no schema can.
    ByValidate(&'static str),
}

const fn both(name: &'static str, change: Change, field: &'static str, words: &'static [&'static str]) -> Refused {
    Refused { name, change, field, seen: Seen::ByBoth(words) }
}

const fn unseen(name: &'static str, change: Change, field: &'static str, why: &'static str) -> Refused {
    Refused { name, change, field, seen: Seen::ByValidate(why) }
}

/// The object that is changed. It is accepted as it is.
pub fn object() -> Value {
    json!({
        "apiVersion": "regcred.dev/v1alpha1", "kind": "RegistryConnection", "metadata": {"name": "images"},
        "spec": {"provider": {"generic": {"registryUrl": "https://registry.example", "secretRef": {"name": "login"}}}},
    })
}

/// The object as a case changes it.
pub fn changed(change: Change) -> Value {
    let mut object = object();
    change(&mut object);
    object
}

fn generic(object: &mut Value) -> &mut Value {
    &mut object["spec"]["provider"]["generic"]
}

const URL: &str = "spec.provider.generic.registryUrl";
const IMAGE_HOST: &str = "spec.provider.generic.imageHost";
const TOKEN_HOSTS: &str = "spec.provider.generic.trustedTokenHosts";
const A_HOST: &str = "what a host is, takes a parser of URLs and IDNA";
const DOCKER_HUB: &str = "Docker Hub has several names, with and without scheme, port and path";
const A_KEY: &str = "a schema has no pattern for keys";
const LOOPBACK: &str = "whether loopback is meant depends on how the operator was started";

/// What is refused.
pub const REFUSED: &[Refused] = &[
    // The provider.
    both("no provider", |o| o["spec"]["provider"] = json!({}), "spec.provider", &["exactly one provider", "generic"]),
    both("provider absent", |o| o["spec"] = json!({}), "spec.provider", &[]),
    both("spec absent", |o| drop(o.as_object_mut().unwrap().remove("spec")), "spec", &[]),
    both(
        "two providers",
        |o| o["spec"]["provider"]["dockerhub"] = json!({"secretRef": {"name": "x"}}),
        "spec.provider",
        &["exactly one provider", "dockerhub, generic"],
    ),
    both(
        "Docker Hub beside a provider that is null",
        |o| o["spec"]["provider"] = json!({"generic": null, "dockerhub": {"secretRef": {"name": "login"}}}),
        "spec.provider.generic",
        &["null"],
    ),
    both("unknown provider", |o| o["spec"]["provider"]["other"] = json!({}), "spec.provider.other", &[]),
    both("provider that is null", |o| *generic(o) = Value::Null, "spec.provider.generic", &["null"]),
    // registryUrl.
    both("user info", |o| generic(o)["registryUrl"] = "https://u:p@r.example".into(), URL, &["password"]),
    both("query", |o| generic(o)["registryUrl"] = "https://r.example?x".into(), URL, &["query"]),
    both("empty query", |o| generic(o)["registryUrl"] = "r.example?".into(), URL, &["query"]),
    both("fragment", |o| generic(o)["registryUrl"] = "r.example#x".into(), URL, &["fragment"]),
    both("scheme", |o| generic(o)["registryUrl"] = "ftp://r.example".into(), URL, &["https://"]),
    both("empty URL", |o| generic(o)["registryUrl"] = "".into(), URL, &[]),
    both("no URL", |o| drop(generic(o).as_object_mut().unwrap().remove("registryUrl")), URL, &[]),
    both("URL that is null", |o| generic(o)["registryUrl"] = Value::Null, URL, &[]),
    both("URL too long", |o| generic(o)["registryUrl"] = format!("r.example{}", "/".repeat(504)).into(), URL, &["512"]),
    both("list as URL", |o| generic(o)["registryUrl"] = json!(["r.example"]), URL, &[]),
    unseen("scheme without slashes", |o| generic(o)["registryUrl"] = "https:r.example".into(), URL, A_HOST),
    unseen("path", |o| generic(o)["registryUrl"] = "https://r.example/team".into(), URL, A_HOST),
    unseen("port too large", |o| generic(o)["registryUrl"] = "r.example:65536".into(), URL, A_HOST),
    unseen("scheme without a host", |o| generic(o)["registryUrl"] = "https://".into(), URL, A_HOST),
    unseen("asterisk", |o| generic(o)["registryUrl"] = "*.example".into(), URL, A_HOST),
    unseen("blank in the host", |o| generic(o)["registryUrl"] = "regis try.example".into(), URL, A_HOST),
    unseen("line end in the host", |o| generic(o)["registryUrl"] = "registry\n.example".into(), URL, A_HOST),
    unseen("not IDNA", |o| generic(o)["registryUrl"] = "xn--a.example".into(), URL, A_HOST),
    unseen("half an IPv6 address", |o| generic(o)["registryUrl"] = "https://[2001:db8::1".into(), URL, A_HOST),
    unseen("Docker Hub as any registry", |o| generic(o)["registryUrl"] = "docker.io".into(), URL, DOCKER_HUB),
    unseen(
        "Docker Hub's old URL",
        |o| generic(o)["registryUrl"] = "https://index.docker.io/v1/".into(),
        URL,
        DOCKER_HUB,
    ),
    unseen("plain http", |o| generic(o)["registryUrl"] = "http://r.example".into(), URL, LOOPBACK),
    unseen("loopback", |o| generic(o)["registryUrl"] = "http://127.0.0.1:5000".into(), URL, LOOPBACK),
    unseen("loopback by its name", |o| generic(o)["registryUrl"] = "https://localhost".into(), URL, LOOPBACK),
    // The other fields of the generic provider.
    both("https and insecure", |o| generic(o)["insecure"] = true.into(), "spec.provider.generic.insecure", &["caRef"]),
    both(
        "https behind blanks, and insecure",
        |o| {
            generic(o)["registryUrl"] = " HTTPS://r.example".into();
            generic(o)["insecure"] = true.into();
        },
        "spec.provider.generic.insecure",
        &["caRef"],
    ),
    both("text as insecure", |o| generic(o)["insecure"] = "true".into(), "spec.provider.generic.insecure", &[]),
    both(
        "scheme in the image host",
        |o| generic(o)["imageHost"] = "https://r.example".into(),
        IMAGE_HOST,
        &["no scheme"],
    ),
    both("user in the image host", |o| generic(o)["imageHost"] = "u@r.example".into(), IMAGE_HOST, &["a host"]),
    both("empty image host", |o| generic(o)["imageHost"] = "".into(), IMAGE_HOST, &[]),
    both("image host too long", |o| generic(o)["imageHost"] = "a".repeat(256).into(), IMAGE_HOST, &["255"]),
    unseen("query in the image host", |o| generic(o)["imageHost"] = "r.example?x".into(), IMAGE_HOST, A_HOST),
    unseen("asterisk in the image host", |o| generic(o)["imageHost"] = "*.example".into(), IMAGE_HOST, A_HOST),
    unseen("Docker Hub as image host", |o| generic(o)["imageHost"] = "docker.io".into(), IMAGE_HOST, DOCKER_HUB),
    both(
        "path in a token host",
        |o| generic(o)["trustedTokenHosts"] = json!(["a.example", "b.example/token"]),
        TOKEN_HOSTS,
        &["no path"],
    ),
    both("nine token hosts", |o| generic(o)["trustedTokenHosts"] = json!(vec!["a.example"; 9]), TOKEN_HOSTS, &["8"]),
    both(
        "empty token host",
        |o| generic(o)["trustedTokenHosts"] = json!(["a.example", ""]),
        "spec.provider.generic.trustedTokenHosts[1]",
        &[],
    ),
    both(
        "token host that is null",
        |o| generic(o)["trustedTokenHosts"] = json!([null]),
        "spec.provider.generic.trustedTokenHosts[0]",
        &[],
    ),
    unseen("blank in a token host", |o| generic(o)["trustedTokenHosts"] = json!(["a b"]), TOKEN_HOSTS, A_HOST),
    both(
        "kind of the authority",
        |o| generic(o)["caRef"] = json!({"kind": "Pod", "name": "x"}),
        "spec.provider.generic.caRef.kind",
        &["ConfigMap"],
    ),
    both(
        "no kind of the authority",
        |o| generic(o)["caRef"] = json!({"name": "x"}),
        "spec.provider.generic.caRef.kind",
        &[],
    ),
    both(
        "name of the authority",
        |o| generic(o)["caRef"] = json!({"kind": "Secret", "name": "a/b"}),
        "spec.provider.generic.caRef.name",
        &[],
    ),
    both(
        "no login",
        |o| drop(generic(o).as_object_mut().unwrap().remove("secretRef")),
        "spec.provider.generic.secretRef",
        &[],
    ),
    both("text as login", |o| generic(o)["secretRef"] = "login".into(), "spec.provider.generic.secretRef", &[]),
    both("no name of the login", |o| generic(o)["secretRef"] = json!({}), "spec.provider.generic.secretRef.name", &[]),
    both(
        "path as name of the login",
        |o| generic(o)["secretRef"]["name"] = "../x".into(),
        "spec.provider.generic.secretRef.name",
        &[],
    ),
    both(
        "name of the login too long",
        |o| generic(o)["secretRef"]["name"] = "a".repeat(254).into(),
        "spec.provider.generic.secretRef.name",
        &["253"],
    ),
    both(
        "namespace of the login",
        |o| generic(o)["secretRef"]["namespace"] = "x".into(),
        "spec.provider.generic.secretRef.namespace",
        &[],
    ),
    both(
        "empty key of the login",
        |o| generic(o)["secretRef"]["passwordKey"] = "".into(),
        "spec.provider.generic.secretRef.passwordKey",
        &[],
    ),
    both(
        "key of the password with a blank and a slash",
        |o| generic(o)["secretRef"]["passwordKey"] = "a b/c".into(),
        "spec.provider.generic.secretRef.passwordKey",
        &[],
    ),
    both(
        "key of the user name that is two dots",
        |o| generic(o)["secretRef"]["usernameKey"] = "..".into(),
        "spec.provider.generic.secretRef.usernameKey",
        &[],
    ),
    both(
        "key of the authority with a slash",
        |o| generic(o)["caRef"] = json!({"kind": "ConfigMap", "name": "x", "key": "a/b"}),
        "spec.provider.generic.caRef.key",
        &[],
    ),
    // What is served, tested, written.
    both("upper case in the prefix", |o| o["spec"]["repositoryPrefix"] = "Team".into(), "spec.repositoryPrefix", &[]),
    both("slash behind the prefix", |o| o["spec"]["repositoryPrefix"] = "team/".into(), "spec.repositoryPrefix", &[]),
    both(
        "line end behind the prefix",
        |o| o["spec"]["repositoryPrefix"] = "team\n".into(),
        "spec.repositoryPrefix",
        &[],
    ),
    both("empty prefix", |o| o["spec"]["repositoryPrefix"] = "".into(), "spec.repositoryPrefix", &[]),
    both(
        "prefix too long",
        |o| o["spec"]["repositoryPrefix"] = "a".repeat(256).into(),
        "spec.repositoryPrefix",
        &["255"],
    ),
    both(
        "pattern with a scheme",
        |o| o["spec"]["autoLinkPattern"] = "https://r.example/team/*".into(),
        "spec.autoLinkPattern",
        &["scheme"],
    ),
    both(
        "pattern in upper case",
        |o| o["spec"]["autoLinkPattern"] = "r.example/Team/*".into(),
        "spec.autoLinkPattern",
        &["lower case"],
    ),
    both(
        "pattern with a host in upper case",
        |o| o["spec"]["autoLinkPattern"] = "R.Example/team".into(),
        "spec.autoLinkPattern",
        &["lower case"],
    ),
    both(
        "pattern with a tag",
        |o| o["spec"]["autoLinkPattern"] = "r.example/team/app:v1".into(),
        "spec.autoLinkPattern",
        &["tag or a digest"],
    ),
    both(
        "pattern with a digest",
        |o| o["spec"]["autoLinkPattern"] = "r.example/team@sha256:0000".into(),
        "spec.autoLinkPattern",
        &["tag or a digest"],
    ),
    both(
        "pattern with a tag in the midst",
        |o| o["spec"]["autoLinkPattern"] = "r.example/te:am/app".into(),
        "spec.autoLinkPattern",
        &["tag or a digest"],
    ),
    both(
        "pattern with a blank",
        |o| o["spec"]["autoLinkPattern"] = "r.example/te am".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern with a question mark",
        |o| o["spec"]["autoLinkPattern"] = "r.example/team?".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern with a class",
        |o| o["spec"]["autoLinkPattern"] = "r.example/[a-z]".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern with an expression",
        |o| o["spec"]["autoLinkPattern"] = "r.example/(a+)+".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern with a backslash",
        |o| o["spec"]["autoLinkPattern"] = "r.example/a\\.b".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern with a line end",
        |o| o["spec"]["autoLinkPattern"] = "r.example/team\n".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern in other letters",
        |o| o["spec"]["autoLinkPattern"] = "r.example/tëam".into(),
        "spec.autoLinkPattern",
        &["characters"],
    ),
    both(
        "pattern without a host",
        |o| o["spec"]["autoLinkPattern"] = "nginx".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern without a host, with a path",
        |o| o["spec"]["autoLinkPattern"] = "acme/web".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern that is an asterisk",
        |o| o["spec"]["autoLinkPattern"] = "*".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both("pattern with any host", |o| o["spec"]["autoLinkPattern"] = "*/web".into(), "spec.autoLinkPattern", &["host"]),
    both(
        "pattern with any host of a domain",
        |o| o["spec"]["autoLinkPattern"] = "*.example.com/web".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern with an asterisk in the host",
        |o| o["spec"]["autoLinkPattern"] = "r.ex*mple/web".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern without a path",
        |o| o["spec"]["autoLinkPattern"] = "r.example/".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern that is a host",
        |o| o["spec"]["autoLinkPattern"] = "r.example".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both(
        "pattern that begins with a dot",
        |o| o["spec"]["autoLinkPattern"] = "./a".into(),
        "spec.autoLinkPattern",
        &["host"],
    ),
    both("empty pattern", |o| o["spec"]["autoLinkPattern"] = "".into(), "spec.autoLinkPattern", &["host"]),
    both(
        "pattern that calls Docker Hub otherwise",
        |o| o["spec"]["autoLinkPattern"] = "index.docker.io/library/nginx".into(),
        "spec.autoLinkPattern",
        &["docker.io"],
    ),
    both(
        "pattern with one part at Docker Hub",
        |o| o["spec"]["autoLinkPattern"] = "docker.io/nginx".into(),
        "spec.autoLinkPattern",
        &["two parts"],
    ),
    both(
        "pattern with any one part at Docker Hub",
        |o| o["spec"]["autoLinkPattern"] = "docker.io/*".into(),
        "spec.autoLinkPattern",
        &["two parts"],
    ),
    both(
        "pattern with nine asterisks",
        |o| o["spec"]["autoLinkPattern"] = "r.example/a*b*c*d*e*f*g*h*i*".into(),
        "spec.autoLinkPattern",
        &["8 asterisks"],
    ),
    both(
        "pattern too long",
        |o| o["spec"]["autoLinkPattern"] = format!("r.example/{}", "a".repeat(246)).into(),
        "spec.autoLinkPattern",
        &["255"],
    ),
    both(
        "ServiceAccount that is no name",
        |o| o["spec"]["serviceAccounts"] = json!(["../x"]),
        "spec.serviceAccounts[0]",
        &[],
    ),
    both("empty ServiceAccount", |o| o["spec"]["serviceAccounts"] = json!([""]), "spec.serviceAccounts[0]", &[]),
    both(
        "too many ServiceAccounts",
        |o| o["spec"]["serviceAccounts"] = json!(vec!["a"; 33]),
        "spec.serviceAccounts",
        &["32"],
    ),
    both("default in words", |o| o["spec"]["isDefault"] = "yes".into(), "spec.isDefault", &[]),
    both("mode of the test", |o| o["spec"]["test"] = json!({"mode": "Maybe"}), "spec.test.mode", &["Required"]),
    both("mode in lower case", |o| o["spec"]["test"] = json!({"mode": "required"}), "spec.test.mode", &["Required"]),
    both("Off without quotes", |o| o["spec"]["test"] = json!({"mode": false}), "spec.test.mode", &[]),
    both("test too long", |o| o["spec"]["test"] = json!({"timeoutSeconds": 31}), "spec.test.timeoutSeconds", &["30"]),
    both("test without time", |o| o["spec"]["test"] = json!({"timeoutSeconds": 0}), "spec.test.timeoutSeconds", &["1"]),
    both(
        "path tricks in a repository",
        |o| o["spec"]["test"] = json!({"repositories": [{"name": "a/../b"}]}),
        "spec.test.repositories[0].name",
        &[],
    ),
    both(
        "name of a repository too long",
        |o| o["spec"]["test"] = json!({"repositories": [{"name": "a".repeat(256)}]}),
        "spec.test.repositories[0].name",
        &["255"],
    ),
    unseen(
        "name of Docker's own repository too long",
        |o| {
            o["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login"}}});
            o["spec"]["test"] = json!({"repositories": [{"name": "a".repeat(248)}]});
        },
        "spec.test.repositories",
        "it gets longer by library/",
    ),
    both(
        "text as repository",
        |o| o["spec"]["test"] = json!({"repositories": ["team/web"]}),
        "spec.test.repositories[0]",
        &[],
    ),
    both(
        "tag that is none",
        |o| o["spec"]["test"] = json!({"repositories": [{"name": "a"}, {"name": "a", "reference": "a/b"}]}),
        "spec.test.repositories[1].reference",
        &[],
    ),
    both(
        "tag too long",
        |o| o["spec"]["test"] = json!({"repositories": [{"name": "a", "reference": "a".repeat(129)}]}),
        "spec.test.repositories[0].reference",
        &[],
    ),
    both(
        "digest too short",
        |o| o["spec"]["test"] = json!({"repositories": [{"name": "a", "reference": "sha256:abc"}]}),
        "spec.test.repositories[0].reference",
        &[],
    ),
    both(
        "nine repositories",
        |o| o["spec"]["test"] = json!({"repositories": vec![json!({"name": "a"}); 9]}),
        "spec.test.repositories",
        &["8"],
    ),
    both(
        "interval too short",
        |o| o["spec"]["refreshIntervalMinutes"] = 4.into(),
        "spec.refreshIntervalMinutes",
        &["5"],
    ),
    both(
        "interval too long",
        |o| o["spec"]["refreshIntervalMinutes"] = 1441.into(),
        "spec.refreshIntervalMinutes",
        &["1440"],
    ),
    both("part of a minute", |o| o["spec"]["refreshIntervalMinutes"] = 30.5.into(), "spec.refreshIntervalMinutes", &[]),
    both("text as interval", |o| o["spec"]["refreshIntervalMinutes"] = "30".into(), "spec.refreshIntervalMinutes", &[]),
    both(
        "unit of the interval",
        |o| o["spec"]["refreshIntervalMinutes"] = "30m".into(),
        "spec.refreshIntervalMinutes",
        &[],
    ),
    both("no action on a refusal", |o| o["spec"]["onRejected"] = "Delete".into(), "spec.onRejected", &["Remove"]),
    both("empty action on a refusal", |o| o["spec"]["onRejected"] = "".into(), "spec.onRejected", &["Keep"]),
    both("no policy of deletion", |o| o["spec"]["deletionPolicy"] = "Keep".into(), "spec.deletionPolicy", &["Retain"]),
    both("policy that is true", |o| o["spec"]["deletionPolicy"] = true.into(), "spec.deletionPolicy", &[]),
    both("mode that is null", |o| o["spec"]["test"] = json!({"mode": null}), "spec.test.mode", &["null"]),
    both("action that is null", |o| o["spec"]["onRejected"] = Value::Null, "spec.onRejected", &["null"]),
    both("policy that is null", |o| o["spec"]["deletionPolicy"] = Value::Null, "spec.deletionPolicy", &["null"]),
    both("text as suspend", |o| o["spec"]["suspend"] = "true".into(), "spec.suspend", &[]),
    both("unknown field", |o| o["spec"]["refreshInterval"] = 5.into(), "spec.refreshInterval", &[]),
    // The Secret that is written.
    both(
        "target named as the login",
        |o| o["spec"]["secret"] = json!({"name": "login"}),
        "spec.secret.name",
        &["secretRef"],
    ),
    both(
        "connection named as the login",
        |o| o["metadata"]["name"] = "login".into(),
        "spec.secret.name",
        &["secretRef"],
    ),
    both(
        "target named as the login of Docker Hub",
        |o| {
            o["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login"}}});
            o["spec"]["secret"] = json!({"name": "login"});
        },
        "spec.secret.name",
        &["spec.provider.dockerhub.secretRef.name"],
    ),
    both(
        "target named as the authority",
        |o| {
            generic(o)["caRef"] = json!({"kind": "Secret", "name": "authority"});
            o["spec"]["secret"] = json!({"name": "authority"});
        },
        "spec.secret.name",
        &["spec.provider.generic.caRef.name"],
    ),
    both("name of the target", |o| o["spec"]["secret"] = json!({"name": "Not A Name"}), "spec.secret.name", &[]),
    both("dots in the name of the target", |o| o["spec"]["secret"] = json!({"name": "a..b"}), "spec.secret.name", &[]),
    both(
        "name of the target too long",
        |o| o["spec"]["secret"] = json!({"name": "a".repeat(254)}),
        "spec.secret.name",
        &["253"],
    ),
    both(
        "label of ours",
        |o| o["spec"]["secret"] = json!({"labels": {"app.kubernetes.io/managed-by": "me"}}),
        "spec.secret.labels",
        &["regcred.dev/"],
    ),
    both(
        "label under our name",
        |o| o["spec"]["secret"] = json!({"labels": {"regcred.dev/x": "1"}}),
        "spec.secret.labels",
        &["regcred.dev/"],
    ),
    both(
        "annotation under our name",
        |o| o["spec"]["secret"] = json!({"annotations": {"regcred.dev/x": "1"}}),
        "spec.secret.annotations",
        &["regcred.dev/"],
    ),
    both("number as label", |o| o["spec"]["secret"] = json!({"labels": {"team": 1}}), "spec.secret.labels.team", &[]),
    both(
        "label that is null",
        |o| o["spec"]["secret"] = json!({"labels": {"team": null}}),
        "spec.secret.labels.team",
        &["null"],
    ),
    both(
        "blank in the value of a label",
        |o| o["spec"]["secret"] = json!({"labels": {"team": "v v"}}),
        "spec.secret.labels.team",
        &[],
    ),
    both(
        "value of a label too long",
        |o| o["spec"]["secret"] = json!({"labels": {"team": "a".repeat(64)}}),
        "spec.secret.labels.team",
        &["63"],
    ),
    unseen(
        "blank in the key of a label",
        |o| o["spec"]["secret"] = json!({"labels": {"bad key!": "v"}}),
        "spec.secret.labels",
        A_KEY,
    ),
    unseen(
        "prefix of a label in upper case",
        |o| o["spec"]["secret"] = json!({"labels": {"Example.com/team": "v"}}),
        "spec.secret.labels",
        A_KEY,
    ),
    unseen(
        "two slashes in the key of an annotation",
        |o| o["spec"]["secret"] = json!({"annotations": {"a/b/c": "v"}}),
        "spec.secret.annotations",
        A_KEY,
    ),
    unseen(
        "annotations too large",
        |o| o["spec"]["secret"] = json!({"annotations": {"a": "v".repeat(256 * 1024)}}),
        "spec.secret.annotations",
        "no schema adds up lengths",
    ),
    both("33 labels", |o| o["spec"]["secret"] = json!({"labels": many(33)}), "spec.secret.labels", &["32"]),
    both(
        "33 annotations",
        |o| o["spec"]["secret"] = json!({"annotations": many(33)}),
        "spec.secret.annotations",
        &["32"],
    ),
    // The object's own name, labels and annotations.
    both("name of the connection", |o| o["metadata"]["name"] = "Images".into(), "metadata.name", &[]),
    both(
        "name of the connection too long",
        |o| o["metadata"]["name"] = "a".repeat(254).into(),
        "metadata.name",
        &["253"],
    ),
    both("key of its label", |o| o["metadata"]["labels"] = json!({"bad key!": "v"}), "metadata.labels", &[]),
    both("value of its label", |o| o["metadata"]["labels"] = json!({"team": "v v"}), "metadata.labels", &[]),
    both("key of its annotation", |o| o["metadata"]["annotations"] = json!({"/a": "v"}), "metadata.annotations", &[]),
    both(
        "its annotations too large",
        |o| o["metadata"]["annotations"] = json!({"a": "v".repeat(256 * 1024)}),
        "metadata.annotations",
        &[],
    ),
];

/// What is accepted, at the very limits.
pub const ACCEPTED: &[(&str, Change)] = &[
    ("nothing changed", |_| {}),
    ("host alone", |o| generic(o)["registryUrl"] = "r.example".into()),
    ("host of one word", |o| generic(o)["registryUrl"] = "registry".into()),
    ("host and port", |o| generic(o)["registryUrl"] = "r.example:65535".into()),
    ("the usual port", |o| generic(o)["registryUrl"] = "https://r.example:443".into()),
    ("upper case", |o| generic(o)["registryUrl"] = "HTTPS://R.EXAMPLE".into()),
    ("blanks around the URL", |o| generic(o)["registryUrl"] = " https://r.example ".into()),
    ("dot behind the host", |o| generic(o)["registryUrl"] = "r.example.".into()),
    ("old path of the API", |o| generic(o)["registryUrl"] = "https://r.example/v1/".into()),
    ("path of the API", |o| generic(o)["registryUrl"] = "https://r.example/v2".into()),
    ("letters beyond ASCII", |o| generic(o)["registryUrl"] = "bücher.example".into()),
    ("IPv4", |o| generic(o)["registryUrl"] = "192.0.2.1:5000".into()),
    ("IPv6", |o| generic(o)["registryUrl"] = "https://[2001:db8::1]:5000".into()),
    ("the longest URL", |o| generic(o)["registryUrl"] = format!("r.example{}", "/".repeat(503)).into()),
    ("plain http that is meant", |o| {
        generic(o)["registryUrl"] = "http://r.example:5000".into();
        generic(o)["insecure"] = true.into();
    }),
    ("insecure without a scheme", |o| {
        generic(o)["registryUrl"] = "r.example".into();
        generic(o)["insecure"] = true.into();
    }),
    ("secure in so many words", |o| generic(o)["insecure"] = false.into()),
    ("image host", |o| generic(o)["imageHost"] = "Images.example.com".into()),
    ("image host with a port", |o| generic(o)["imageHost"] = "images:5000".into()),
    ("image host that is an IPv6 address", |o| generic(o)["imageHost"] = "[2001:db8::1]:5000".into()),
    ("the longest image host", |o| generic(o)["imageHost"] = "a.".repeat(127).into()),
    ("host that begins with Docker Hub's name", |o| generic(o)["registryUrl"] = "docker.io.example".into()),
    ("eight token hosts", |o| {
        generic(o)["trustedTokenHosts"] = json!([
            "a.example",
            "a.example",
            "b:5001",
            "[2001:db8::1]:1",
            "192.0.2.1",
            "auth.docker.io",
            "localhost",
            "x"
        ]);
    }),
    ("no token hosts", |o| generic(o)["trustedTokenHosts"] = json!([])),
    ("authority in a ConfigMap named as the target", |o| {
        generic(o)["caRef"] = json!({"kind": "ConfigMap", "name": "images", "key": "a".repeat(253)});
    }),
    ("authority in the Secret with the login", |o| generic(o)["caRef"] = json!({"kind": "Secret", "name": "login"})),
    ("the longest name of a login", |o| {
        generic(o)["secretRef"] = json!({"name": "a".repeat(253), "usernameKey": "a".repeat(253), "passwordKey": "p"});
    }),
    ("Docker Hub", |o| {
        o["spec"]["provider"] = json!({"dockerhub": {"secretRef": {"name": "login"}}});
        o["spec"]["test"] =
            json!({"repositories": [{"name": "nginx"}, {"name": "a".repeat(247)}, {"name": "team/web"}]});
    }),
    ("prefix", |o| o["spec"]["repositoryPrefix"] = "a.b/c_d/e__f/g--h/0".into()),
    ("the longest prefix", |o| o["spec"]["repositoryPrefix"] = "a".repeat(255).into()),
    ("the longest pattern", |o| o["spec"]["autoLinkPattern"] = format!("r.example/{}", "a".repeat(245)).into()),
    ("pattern with eight asterisks", |o| o["spec"]["autoLinkPattern"] = "r.example/a*b*c*d*e*f*g*h*".into()),
    ("pattern with a port", |o| o["spec"]["autoLinkPattern"] = "r.example:5000/team/**".into()),
    ("pattern at localhost", |o| o["spec"]["autoLinkPattern"] = "localhost/app".into()),
    ("pattern of all of Docker Hub", |o| o["spec"]["autoLinkPattern"] = "docker.io/**".into()),
    ("pattern of official images", |o| o["spec"]["autoLinkPattern"] = "docker.io/library/*".into()),
    ("32 ServiceAccounts", |o| o["spec"]["serviceAccounts"] = json!(vec!["a".repeat(253); 32])),
    ("no ServiceAccounts", |o| o["spec"]["serviceAccounts"] = json!([])),
    ("default", |o| o["spec"]["isDefault"] = true.into()),
    ("the shortest interval", |o| o["spec"]["refreshIntervalMinutes"] = 5.into()),
    ("the longest interval", |o| o["spec"]["refreshIntervalMinutes"] = 1440.into()),
    ("interval as a float", |o| o["spec"]["refreshIntervalMinutes"] = 30.0.into()),
    ("test with all limits reached", |o| {
        let repositories = vec![json!({"name": "a".repeat(255), "reference": "a".repeat(128)}); 8];
        o["spec"]["test"] = json!({"mode": "Required", "timeoutSeconds": 30, "repositories": repositories});
    }),
    ("the shortest test", |o| o["spec"]["test"] = json!({"mode": "Off", "timeoutSeconds": 1, "repositories": []})),
    ("digests", |o| {
        let digests = [("sha256", 64), ("sha512", 128), ("a+b.c_d-e", 32)];
        let named =
            digests.map(|(name, digits)| json!({"name": "a", "reference": format!("{name}:{}", "0".repeat(digits))}));
        o["spec"]["test"] = json!({"repositories": named});
    }),
    ("refusals keep the Secret", |o| o["spec"]["onRejected"] = "Keep".into()),
    ("refusals remove the Secret", |o| o["spec"]["onRejected"] = "Remove".into()),
    ("deleted with the connection", |o| o["spec"]["deletionPolicy"] = "Delete".into()),
    ("kept after the connection", |o| o["spec"]["deletionPolicy"] = "Retain".into()),
    ("suspended", |o| o["spec"]["suspend"] = true.into()),
    ("the longest name of a target", |o| o["spec"]["secret"] = json!({"name": "a".repeat(253)})),
    ("the longest name of a connection", |o| o["metadata"]["name"] = "a".repeat(253).into()),
    ("dots in the name of a connection", |o| o["metadata"]["name"] = "a.b-c.0".into()),
    ("32 labels and annotations", |o| o["spec"]["secret"] = json!({"labels": many(32), "annotations": many(32)})),
    ("labels and annotations at the limits", |o| {
        let key = format!("{}/{}", "a".repeat(253), "A_b.c-".repeat(10) + "abc");
        let labels = json!({key.clone(): "a".repeat(63), "empty": ""});
        let annotations = json!({key.clone(): "any text, \u{fc}!", "Example.com/a": ""});
        o["metadata"]["labels"] = labels.clone();
        o["metadata"]["annotations"] = annotations.clone();
        o["spec"]["secret"] = json!({"labels": labels, "annotations": annotations});
    }),
    ("keys of the login with dots", |o| {
        generic(o)["secretRef"] = json!({"name": "login", "usernameKey": ".user..name", "passwordKey": "-_."});
    }),
    ("keys that only look like ours", |o| {
        let keys = json!({"regcred.dev": "a", "regcred.devx/y": "b", "x/regcred.dev": "c"});
        o["spec"]["secret"] = json!({"labels": keys, "annotations": {"app.kubernetes.io/managed-by": "me"}});
    }),
    ("nothing in all that may be absent", |o| {
        let links = ["isDefault", "serviceAccounts", "autoLinkPattern"];
        for field in
            ["refreshIntervalMinutes", "repositoryPrefix", "test", "secret", "suspend"].into_iter().chain(links)
        {
            o["spec"][field] = Value::Null;
        }
        for field in ["imageHost", "caRef", "insecure", "trustedTokenHosts"] {
            generic(o)[field] = Value::Null;
        }
    }),
    ("nothing in the parts of test and secret", |o| {
        o["spec"]["test"] = json!({"repositories": null, "timeoutSeconds": null});
        o["spec"]["secret"] = json!({"name": null, "labels": null, "annotations": null});
        generic(o)["secretRef"] = json!({"name": "login", "usernameKey": null, "passwordKey": null});
    }),
];

/// The object with DigitalOcean as its provider.
fn digital_ocean(object: &mut Value) -> &mut Value {
    let provider = &mut object["spec"]["provider"];
    *provider = json!({"digitalocean": {"registryName": "team", "secretRef": {"name": "api"}}});
    &mut provider["digitalocean"]
}

/// The object with IONOS as its provider.
fn ionos(object: &mut Value) -> &mut Value {
    let provider = &mut object["spec"]["provider"];
    *provider = json!({"ionos": {"registryName": "team", "secretRef": {"name": "api"}}});
    &mut provider["ionos"]
}

fn scope(change: Change) -> Value {
    let mut scope = json!({"type": "repository", "name": "*", "actions": ["pull"]});
    change(&mut scope);
    json!([scope])
}

const DIGITALOCEAN_NAME: &str = "spec.provider.digitalocean.registryName";
const DIGITALOCEAN_URL: &str = "spec.provider.digitalocean.apiUrl";
const EXPIRY: &str = "spec.provider.digitalocean.expirySeconds";
const IONOS_NAME: &str = "spec.provider.ionos.registryName";
const IONOS_ID: &str = "spec.provider.ionos.registryId";
const IONOS_URL: &str = "spec.provider.ionos.apiUrl";
const IONOS_SCOPES: &str = "spec.provider.ionos.scopes";
const CONTRACT: &str = "spec.provider.ionos.contractNumber";
const TTL: &str = "spec.provider.ionos.tokenTtlMinutes";
const A_URL: &str = "what a host is, takes a parser of URLs";

/// What is refused of providers that issue credentials.
pub const REFUSED_OF_ISSUERS: &[Refused] = &[
    // DigitalOcean.
    both(
        "no name of the registry",
        |o| drop(digital_ocean(o).as_object_mut().unwrap().remove("registryName")),
        DIGITALOCEAN_NAME,
        &["Required"],
    ),
    both("empty name", |o| digital_ocean(o)["registryName"] = "".into(), DIGITALOCEAN_NAME, &[]),
    both("name in upper case", |o| digital_ocean(o)["registryName"] = "Team".into(), DIGITALOCEAN_NAME, &[]),
    both("path in the name", |o| digital_ocean(o)["registryName"] = "team/web".into(), DIGITALOCEAN_NAME, NAME_ALONE),
    both("path tricks in the name", |o| digital_ocean(o)["registryName"] = "..".into(), DIGITALOCEAN_NAME, &[]),
    both("escape in the name", |o| digital_ocean(o)["registryName"] = "a%2fb".into(), DIGITALOCEAN_NAME, &[]),
    both("line end behind the name", |o| digital_ocean(o)["registryName"] = "team\n".into(), DIGITALOCEAN_NAME, &[]),
    both("name too long", |o| digital_ocean(o)["registryName"] = "a".repeat(64).into(), DIGITALOCEAN_NAME, &["63"]),
    both(
        "no API token",
        |o| drop(digital_ocean(o).as_object_mut().unwrap().remove("secretRef")),
        "spec.provider.digitalocean.secretRef",
        &["Required"],
    ),
    both(
        "API token in so many words",
        |o| digital_ocean(o)["token"] = "canary".into(),
        "spec.provider.digitalocean.token",
        &["not declared"],
    ),
    both(
        "key of the API token",
        |o| digital_ocean(o)["secretRef"]["tokenKey"] = "a/b".into(),
        "spec.provider.digitalocean.secretRef.tokenKey",
        &[],
    ),
    both(
        "empty key of the API token",
        |o| digital_ocean(o)["secretRef"]["tokenKey"] = "".into(),
        "spec.provider.digitalocean.secretRef.tokenKey",
        &[],
    ),
    both(
        "text as readWrite",
        |o| digital_ocean(o)["readWrite"] = "true".into(),
        "spec.provider.digitalocean.readWrite",
        &[],
    ),
    both("life that never ends", |o| digital_ocean(o)["expirySeconds"] = 0.into(), EXPIRY, &["600"]),
    both("life too short for any interval", |o| digital_ocean(o)["expirySeconds"] = 599.into(), EXPIRY, &["600"]),
    both("life too long", |o| digital_ocean(o)["expirySeconds"] = 1_576_800_001_i64.into(), EXPIRY, &["1576800000"]),
    both("life with a unit", |o| digital_ocean(o)["expirySeconds"] = "1h".into(), EXPIRY, &["got string"]),
    both("part of a second", |o| digital_ocean(o)["expirySeconds"] = 3600.5.into(), EXPIRY, &[]),
    both(
        "life below twice the interval that is meant",
        |o| digital_ocean(o)["expirySeconds"] = 3599.into(),
        EXPIRY,
        &["at least 120 times spec.refreshIntervalMinutes (absent means 30)"],
    ),
    both(
        "life below twice the interval",
        |o| {
            digital_ocean(o)["expirySeconds"] = 7199.into();
            o["spec"]["refreshIntervalMinutes"] = 60.into();
        },
        EXPIRY,
        &["at least 120 times spec.refreshIntervalMinutes"],
    ),
    both("API without https", |o| digital_ocean(o)["apiUrl"] = "http://api.example".into(), DIGITALOCEAN_URL, HTTPS),
    both("API without a scheme", |o| digital_ocean(o)["apiUrl"] = "api.example".into(), DIGITALOCEAN_URL, HTTPS),
    both("API without a host", |o| digital_ocean(o)["apiUrl"] = "https:///v2".into(), DIGITALOCEAN_URL, HTTPS),
    both("API with one slash", |o| digital_ocean(o)["apiUrl"] = "https:/api.example".into(), DIGITALOCEAN_URL, HTTPS),
    both(
        "API by another protocol",
        |o| digital_ocean(o)["apiUrl"] = "ftp://api.example".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both(
        "API at a host that begins like loopback",
        |o| digital_ocean(o)["apiUrl"] = "http://127.0.0.1.evil.example".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both(
        "API at a host that begins with the name of loopback",
        |o| digital_ocean(o)["apiUrl"] = "http://localhost.evil.example".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both(
        "API that looks like loopback",
        |o| digital_ocean(o)["apiUrl"] = "http://127.0.0.1:80@evil.example".into(),
        DIGITALOCEAN_URL,
        &["user name"],
    ),
    both(
        "API with a blank",
        |o| digital_ocean(o)["apiUrl"] = "https://api.example/a b".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both(
        "API with a blank before it",
        |o| digital_ocean(o)["apiUrl"] = " https://api.example".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both(
        "API with a line end",
        |o| digital_ocean(o)["apiUrl"] = "https://api.example\n".into(),
        DIGITALOCEAN_URL,
        HTTPS,
    ),
    both("API with a backslash", |o| digital_ocean(o)["apiUrl"] = "https://a\\b".into(), DIGITALOCEAN_URL, HTTPS),
    both(
        "user of the API",
        |o| digital_ocean(o)["apiUrl"] = "https://u:p@api.example".into(),
        DIGITALOCEAN_URL,
        SECRET,
    ),
    both(
        "query to the API",
        |o| digital_ocean(o)["apiUrl"] = "https://api.example?t=1".into(),
        DIGITALOCEAN_URL,
        SECRET,
    ),
    both(
        "fragment of the API",
        |o| digital_ocean(o)["apiUrl"] = "https://api.example#t".into(),
        DIGITALOCEAN_URL,
        SECRET,
    ),
    both("empty URL of the API", |o| digital_ocean(o)["apiUrl"] = "".into(), DIGITALOCEAN_URL, &[]),
    both(
        "URL of the API too long",
        |o| digital_ocean(o)["apiUrl"] = format!("https://a.example/{}", "a".repeat(500)).into(),
        DIGITALOCEAN_URL,
        &["512"],
    ),
    unseen(
        "port of the API",
        |o| digital_ocean(o)["apiUrl"] = "https://api.example:65536".into(),
        DIGITALOCEAN_URL,
        A_URL,
    ),
    unseen("API without host", |o| digital_ocean(o)["apiUrl"] = "https://:443".into(), DIGITALOCEAN_URL, A_URL),
    unseen(
        "API on loopback",
        |o| digital_ocean(o)["apiUrl"] = "http://127.0.0.1:8080".into(),
        DIGITALOCEAN_URL,
        LOOPBACK,
    ),
    both(
        "target named as the Secret with the API token",
        |o| {
            digital_ocean(o);
            o["spec"]["secret"] = json!({"name": "api"});
        },
        "spec.secret.name",
        &["spec.provider.digitalocean.secretRef.name"],
    ),
    both(
        "connection named as the Secret with the API token",
        |o| {
            digital_ocean(o);
            o["metadata"]["name"] = "api".into();
        },
        "spec.secret.name",
        &["spec.provider.digitalocean.secretRef.name"],
    ),
    both(
        "DigitalOcean and IONOS",
        |o| {
            let both = ionos(o).clone();
            digital_ocean(o);
            o["spec"]["provider"]["ionos"] = both;
        },
        "spec.provider",
        &["exactly one provider", "digitalocean, dockerhub, generic, ionos"],
    ),
    // IONOS.
    both(
        "neither name nor ID",
        |o| drop(ionos(o).as_object_mut().unwrap().remove("registryName")),
        IONOS_NAME,
        &["exactly one of registryName and registryId"],
    ),
    both(
        "name and ID",
        |o| ionos(o)["registryId"] = "6a1d0fd4-4b4a-4e4f-9b4e-2f0c1c4c6c1e".into(),
        IONOS_NAME,
        &["exactly one of registryName and registryId"],
    ),
    both("name too short", |o| ionos(o)["registryName"] = "te".into(), IONOS_NAME, &["3"]),
    both("name too long for IONOS", |o| ionos(o)["registryName"] = "a".repeat(64).into(), IONOS_NAME, &["63"]),
    both("name that begins with a digit", |o| ionos(o)["registryName"] = "1team".into(), IONOS_NAME, &[]),
    both("name that ends with -", |o| ionos(o)["registryName"] = "team-".into(), IONOS_NAME, &[]),
    both(
        "name with the host",
        |o| ionos(o)["registryName"] = "team.cr.de-fra.ionos.com".into(),
        IONOS_NAME,
        NAME_ALONE,
    ),
    both("path tricks in the ID", |o| ionos_by_id(o, "../x"), IONOS_ID, &[]),
    both("empty ID", |o| ionos_by_id(o, ""), IONOS_ID, &[]),
    both("ID too long", |o| ionos_by_id(o, &"a".repeat(65)), IONOS_ID, &["64"]),
    both(
        "no access",
        |o| drop(ionos(o).as_object_mut().unwrap().remove("secretRef")),
        "spec.provider.ionos.secretRef",
        &[],
    ),
    both(
        "key of the access",
        |o| ionos(o)["secretRef"]["tokenKey"] = "..".into(),
        "spec.provider.ionos.secretRef.tokenKey",
        &[],
    ),
    both("contract 0", |o| ionos(o)["contractNumber"] = 0.into(), CONTRACT, &["1"]),
    both("contract as text", |o| ionos(o)["contractNumber"] = "31".into(), CONTRACT, &["got string"]),
    both("no scopes in the list", |o| ionos(o)["scopes"] = json!([]), IONOS_SCOPES, &["1"]),
    both("17 scopes", |o| ionos(o)["scopes"] = json!(vec![scope(|_| {})[0].clone(); 17]), IONOS_SCOPES, &["16"]),
    both(
        "type of a scope",
        |o| ionos(o)["scopes"] = scope(|s| s["type"] = "Repository".into()),
        "spec.provider.ionos.scopes[0].type",
        &[],
    ),
    both(
        "no name in a scope",
        |o| ionos(o)["scopes"] = scope(|s| drop(s.as_object_mut().unwrap().remove("name"))),
        "spec.provider.ionos.scopes[0].name",
        &["Required"],
    ),
    both(
        "blank in the name of a scope",
        |o| ionos(o)["scopes"] = scope(|s| s["name"] = "team web".into()),
        "spec.provider.ionos.scopes[0].name",
        &[],
    ),
    both(
        "no action in a scope",
        |o| ionos(o)["scopes"] = scope(|s| s["actions"] = json!([])),
        "spec.provider.ionos.scopes[0].actions",
        &["1"],
    ),
    both(
        "two actions in one",
        |o| ionos(o)["scopes"] = scope(|s| s["actions"] = json!(["pull", "pull,push"])),
        "spec.provider.ionos.scopes[0].actions[1]",
        &[],
    ),
    both(
        "nine actions in a scope",
        |o| ionos(o)["scopes"] = scope(|s| s["actions"] = json!(vec!["pull"; 9])),
        "spec.provider.ionos.scopes[0].actions",
        &["8"],
    ),
    both("token too short for any interval", |o| ionos(o)["tokenTtlMinutes"] = 9.into(), TTL, &["10"]),
    both("token for more than a year", |o| ionos(o)["tokenTtlMinutes"] = 525_601.into(), TTL, &["525600"]),
    both(
        "token below twice the interval that is meant",
        |o| ionos(o)["tokenTtlMinutes"] = 59.into(),
        TTL,
        &["at least 2 times spec.refreshIntervalMinutes (absent means 30)"],
    ),
    both(
        "token below twice the interval",
        |o| {
            ionos(o)["tokenTtlMinutes"] = 2879.into();
            o["spec"]["refreshIntervalMinutes"] = 1440.into();
        },
        TTL,
        &["at least 2 times spec.refreshIntervalMinutes"],
    ),
    both("API of IONOS without https", |o| ionos(o)["apiUrl"] = "http://api.example".into(), IONOS_URL, HTTPS),
    both("user of the API of IONOS", |o| ionos(o)["apiUrl"] = "https://u@api.example".into(), IONOS_URL, SECRET),
    unseen("API of IONOS on loopback", |o| ionos(o)["apiUrl"] = "http://[::1]:8080/cr".into(), IONOS_URL, LOOPBACK),
    both(
        "target named as the Secret with the access",
        |o| {
            ionos(o);
            o["spec"]["secret"] = json!({"name": "api"});
        },
        "spec.secret.name",
        &["spec.provider.ionos.secretRef.name"],
    ),
    // When it is renewed.
    both(
        "policy of renewal",
        |o| {
            digital_ocean(o);
            o["spec"]["renewalPolicy"] = "Never".into();
        },
        "spec.renewalPolicy",
        &["OnInterval", "NearExpiry"],
    ),
    both(
        "policy of renewal that is null",
        |o| {
            ionos(o);
            o["spec"]["renewalPolicy"] = Value::Null;
        },
        "spec.renewalPolicy",
        &["null"],
    ),
];

const NAME_ALONE: &[&str] = &["registryName is the name alone"];
const HTTPS: &[&str] = &["apiUrl must begin with https:// and a host"];
const SECRET: &[&str] = &["apiUrl must not contain a user name", "secretRef"];

fn ionos_by_id(object: &mut Value, id: &str) {
    *ionos(object) = json!({"registryId": id, "secretRef": {"name": "api"}});
}

/// What is accepted of providers that issue credentials, at the very limits.
pub const ACCEPTED_OF_ISSUERS: &[(&str, Change)] = &[
    ("DigitalOcean", |o| _ = digital_ocean(o)),
    ("DigitalOcean with all it takes", |o| {
        *digital_ocean(o) = json!({
            "registryName": "a".repeat(63), "secretRef": {"name": "api", "tokenKey": "a".repeat(253)}, "readWrite": true,
            "expirySeconds": 1_576_800_000, "apiUrl": "https://api.example:8443/do/",
        });
        o["spec"]["renewalPolicy"] = "NearExpiry".into();
        o["spec"]["repositoryPrefix"] = "team".into();
    }),
    ("the shortest name of a registry", |o| digital_ocean(o)["registryName"] = "-".into()),
    ("life of twice the interval that is meant", |o| digital_ocean(o)["expirySeconds"] = 3600.into()),
    ("the shortest life", |o| {
        digital_ocean(o)["expirySeconds"] = 600.into();
        o["spec"]["refreshIntervalMinutes"] = 5.into();
    }),
    ("life of twice the longest interval", |o| {
        digital_ocean(o)["expirySeconds"] = 172_800.into();
        o["spec"]["refreshIntervalMinutes"] = 1440.into();
    }),
    ("life that is said to be nothing", |o| digital_ocean(o)["expirySeconds"] = Value::Null),
    ("the longest interval without a life", |o| {
        digital_ocean(o);
        o["spec"]["refreshIntervalMinutes"] = 1440.into();
    }),
    ("API in upper case", |o| digital_ocean(o)["apiUrl"] = "HTTPS://API.EXAMPLE".into()),
    ("API by IPv6", |o| digital_ocean(o)["apiUrl"] = "https://[2001:db8::1]:8443".into()),
    ("the longest URL of an API", |o| {
        digital_ocean(o)["apiUrl"] = format!("https://a.example/{}", "a".repeat(494)).into();
    }),
    ("keys that mean nothing", |o| {
        digital_ocean(o)["secretRef"] = json!({"name": "api", "usernameKey": "u", "passwordKey": "p"});
        o["spec"]["secret"] = json!({"name": "api-2"});
    }),
    ("renewed at each refresh", |o| {
        digital_ocean(o);
        o["spec"]["renewalPolicy"] = "OnInterval".into();
    }),
    ("renewal of what is not issued", |o| {
        o["spec"]["renewalPolicy"] = "NearExpiry".into();
        generic(o)["secretRef"]["tokenKey"] = "token".into();
    }),
    ("IONOS", |o| _ = ionos(o)),
    ("IONOS by ID", |o| ionos_by_id(o, "6a1d0fd4-4b4a-4e4f-9b4e-2f0c1c4c6c1e")),
    ("the shortest name of a registry of IONOS", |o| ionos(o)["registryName"] = "a-1".into()),
    ("IONOS with all it takes", |o| {
        let scope = json!({"type": "repository", "name": "a".repeat(255), "actions": vec!["pull"; 8]});
        *ionos(o) = json!({
            "registryName": "a".repeat(63), "contractNumber": 1, "scopes": vec![scope; 16], "tokenTtlMinutes": 525_600,
            "secretRef": {"name": "api", "tokenKey": "t", "usernameKey": "u", "passwordKey": "p"},
            "apiUrl": "https://api.example/containerregistries",
        });
    }),
    ("scopes of all kinds", |o| {
        ionos(o)["scopes"] = json!([
            {"type": "repository", "name": "*", "actions": ["pull", "push", "delete"]},
            {"type": "repository", "name": "team/web_1.a-b", "actions": ["*"]},
            {"type": "registry", "name": "catalog", "actions": ["list"]},
        ]);
    }),
    ("token of twice the interval that is meant", |o| ionos(o)["tokenTtlMinutes"] = 60.into()),
    ("the shortest token", |o| {
        ionos(o)["tokenTtlMinutes"] = 10.into();
        o["spec"]["refreshIntervalMinutes"] = 5.into();
    }),
    ("token of twice the longest interval", |o| {
        ionos(o)["tokenTtlMinutes"] = 2880.into();
        o["spec"]["refreshIntervalMinutes"] = 1440.into();
    }),
    ("nothing in all of IONOS that may be absent", |o| {
        for field in ["registryId", "contractNumber", "scopes", "tokenTtlMinutes", "apiUrl"] {
            ionos(o)[field] = Value::Null;
        }
    }),
];

fn many(count: usize) -> Value {
    (0..count).map(|index| (format!("key-{index}"), Value::from("x"))).collect()
}
