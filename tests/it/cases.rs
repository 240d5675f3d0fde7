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
        for field in ["refreshIntervalMinutes", "repositoryPrefix", "test", "secret", "suspend"] {
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

fn many(count: usize) -> Value {
    (0..count).map(|index| (format!("key-{index}"), Value::from("x"))).collect()
}
